"""``python -m ipeql`` is the ``ipeql`` command."""

from ipeql.cli.main import main

main()
