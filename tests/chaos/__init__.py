"""Break clusters at random while they work, then look whether every promise was kept.

`python -m tests.chaos --minutes 3 --seed 7 --database postgres://postgres@127.0.0.1/chaos` runs
supervised clusters and a stock one on a database of its own, gives them Tasks, and kills, freezes
and stops their processes, deletes wake-ups and cuts connections. Once all is over every Task must
be final and the invariants hold over all rows. `--no-guard` is the negative control: the same with
the claim's guard sabotaged, which must not go unnoticed.
"""
