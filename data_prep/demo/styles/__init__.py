"""The genres of the demo corpus, one file each."""

from data_prep.demo.styles import ambient, classical, electronic, folk, funk, jazz, latin, rock

STYLES = {
    module.STYLE.name: module.STYLE
    for module in (ambient, classical, electronic, folk, funk, jazz, latin, rock)
}
