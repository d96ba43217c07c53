"""Tables of the documentation that are made from files in ``benchmarks/results``.

A line ``<!-- table: NAME -->`` directly above a table in a page names its specification: a function
without arguments, in the ``TABLES`` of the module here that has the name of the page, which returns
header and rows. ``python docs/tables`` writes the tables, ``python docs/tables --check`` says where
a page and the files differ, and tests/docs/test_tables.py fails where they do.

A new table takes its marker with any header and line of dashes below it, and a specification::

    def sizes() -> Table:
        return picked(
            csv_rows("compare_whisper/table.csv"),
            {"spes": "SPES", "random": "random"},
            {"size": ("size", 1), "kl with interval": ("KL", 2)},
            by="method",
        )

    TABLES = {"whisper-sizes": sizes}

A page that has no module yet gets one, with its ``PAGE``, and its place in ``pages.MODULES``.
"""
