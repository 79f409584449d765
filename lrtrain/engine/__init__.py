"""What is compiled, and where it runs: the program of a step, the devices, and the processes of a distributed run."""
