"""Distillation put to work: a convolutional teacher on CIFAR-10, and a student that never sees a label.

A convolutional teacher learns CIFAR-10 from hard labels and is frozen. A student with a fifth of its
parameters then learns from the teacher's softened outputs alone. Beside it, the same student is trained on
hard labels: what does distillation gain?

    python3 -m cifar10                   # results in viz/cifar10/results.json
    python3 -m cifar10 --help            # every setting with its default
    python3 -m cifar10.pictures          # the pictures, from stored trainings

From the bottom up: data; convolution, layers, network, optimisers; settings; training; lessons (what each
network learns from); deployed (what it costs in use); experiment; pictures and command line. Losses, bias
correction and metrics are those of the MNIST experiment.
"""
