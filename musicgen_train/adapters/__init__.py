"""Small changes to a language model that stays as it is: trained, stored, mixed at run time."""
