"""The genres of the demo corpus, one file each."""

from data_prep.demo.styles import (
    ambient,
    chiptune,
    classical,
    electronic,
    folk,
    funk,
    jazz,
    latin,
    rock,
)

STYLES = {
    module.STYLE.name: module.STYLE
    for module in (ambient, classical, electronic, folk, funk, jazz, latin, rock)
}
# Played on request only, so that what was trained on the others has not heard them.
UNSEEN = {module.STYLE.name: module.STYLE for module in (chiptune,)}
ALL_STYLES = STYLES | UNSEEN
