"""One page a training: everything that was recorded of it, in one file that opens without a network.

`told.py` says what a page is made of, in plain arrays and texts, so that histories, doctors and runs can each tell it;
`thinning.py` makes few columns of many steps, `marks.py` finds the steps that are worth a look; `telling.py` writes
what is told in words and reads without the script, `places.py` where the script draws, `data.py` what it draws, and
`file.py` puts all into one file. `notebook.py` is what a
notebook shows.
"""
