import pytest

from keras_wrn.networks.names import find_network


@pytest.mark.parametrize(
    ("name", "dataset", "title", "builder"),
    [
        ("16-4", "cifar10", "WRN-16-4", "WideResNet16_4"),
        ("wrn-28-10", "cifar10", "WRN-28-10", "WideResNet28_10"),
        ("WideResNet40_2", "cifar10", "WRN-40-2", "WideResNet40_2"),
        ("28-1.5", "cifar10", "WRN-28-1.5", "WideResNet"),
        ("50-2", "imagenet", "WRN-50-2", "WideResNet50_2"),
        ("18-1.5", "imagenet", "WRN-18-1.5", "WideResNet18"),
        ("34-2", "imagenet", "WRN-34-2", "WideResNet34"),
        ("34-2", "cifar10", "WRN-34-2", "WideResNet"),
        ("PreActResNet164", "cifar10", "pre-ResNet-164", "PreActResNet164"),
    ],
)
def test_names_of_the_literature(name, dataset, title, builder):
    found, network = find_network(name, dataset)
    assert (found, network["builder"]) == (title, builder)
