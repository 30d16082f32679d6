"""eBPF for several dataplanes: libbpf, and the directories where programs and maps are pinned."""
