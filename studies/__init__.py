"""Every number of section 3 of the paper, and eight questions that it leaves open, each over several seeds.

    python3 -m studies                         # all studies, into viz/study
    python3 -m studies --study temperature     # one of them
    python3 -m studies --redraw                # tables and figures again, from the finished results.json
    python3 -m studies.summarise FOLDER...     # means and spread of single runs, as Markdown

A study is a small grid of settings. Teachers and runs are shared and stored, so that nothing is trained twice
and an interrupted study goes on where it stopped; the runs go to the cores of this machine or to a Dask
cluster.

From the bottom up: what was measured (`intervals`, `measured`); what is asked (`claims`,
`ingredients`, `questions`); how runs are made (`records`, `cluster`, `many`); what is reported (`tables`,
`figures`, `frontier`, `results`).
"""
