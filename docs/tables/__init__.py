"""Tables of the documentation that are made from files in ``benchmarks/results``.

A line ``<!-- table: NAME -->`` directly above a table in a page names its specification: a function
without arguments, in the ``TABLES`` of the module here that has the name of the page, which returns
header and rows. ``python docs/tables`` writes the tables, ``python docs/tables --check`` says where
a page and the files differ.
"""
