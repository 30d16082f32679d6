"""How IPEQL speaks: to the journal, the service manager and whoever asks on the control socket."""
