"""Numbers that compare clips, sets of clips and codes; pure functions of tensors."""
