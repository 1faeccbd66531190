"""Every number of section 3 of the paper, and questions that it leaves open, each over several seeds.

    python3 -m studies                         # all studies, into viz/study
    python3 -m studies --study temperature     # one of them
    python3 -m studies --redraw                # tables and figures again, from the finished results.json

A study is one file: its question, a small grid of settings, table, figure, and the words of the page, their
figures taken from the runs. `questions` lists them in order. Teachers and runs are shared and stored (see
runs/), so that nothing is trained twice, and an interrupted study goes on where it stopped.
"""
