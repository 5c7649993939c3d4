"""The peers: how each is set up, fed, run and asked, one file each; ``roster.py`` lists them.

Each module has the functions of ``Door`` in door.py, and the tasks of ``works.py`` as its users
would write them.
"""
