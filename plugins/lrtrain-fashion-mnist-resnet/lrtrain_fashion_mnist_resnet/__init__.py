"""A small residual network on Fashion-MNIST, shifted and flipped at random, as a workload of lrtrain."""

from lrtrain_fashion_mnist_resnet.workload import FashionMnistResnet

__all__ = ["FashionMnistResnet"]
