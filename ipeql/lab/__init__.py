"""Two hosts in network namespaces, links with a rate and a delay, and traffic to measure them."""
