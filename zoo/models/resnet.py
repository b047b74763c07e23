"""Residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo import checks
from zoo.errors import ShapeError
from zoo.layers import layers_for
from zoo.namespaces import keras
from zoo.recipe import Recipe
from zoo.registry import register
from zoo.sizes import Size

if TYPE_CHECKING:
    from keras import Model

# Blocks a stage, of two 3 × 3 convolutions each but for the bottlenecks of depth 50.
SMALL_FORM = {8: 1, 14: 2, 20: 3, 32: 5, 44: 7, 56: 9, 110: 18}
IMAGENET_FORM = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
BOTTLENECKS = (50,)


def _size(depth: int, parameters: int, rounding: int = 1) -> Size:
    """A published network, its moving statistics of batch normalisation left out."""
    large = depth in IMAGENET_FORM
    arguments = {
        "input_shape": (224, 224, 3) if large else (32, 32, 3),
        "num_classes": 1000 if large else 10,
        "depth": depth,
    }
    source = "He et al., 2016; torchvision's count" if large else "He et al., 2016, table 6"
    return Size(arguments, parameters, source, trainable=True, rounding=rounding)


@register(
    recipe=Recipe(
        dataset="mnist",
        epochs=3,
        batch_size=64,
        learning_rate=3e-3,
        schedule="cosine",
        warmup_epochs=0.3,
        augment="shift",
    ),
    sizes={
        "resnet_18": _size(18, 11_689_512),
        "resnet_34": _size(34, 21_797_672),
        "resnet_50": _size(50, 25_557_032),
        "resnet_20": _size(20, 270_000, rounding=10_000),
        "resnet_32": _size(32, 460_000, rounding=10_000),
        "resnet_56": _size(56, 850_000, rounding=10_000),
    },
)
def resnet(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    depth: int = 20,
    synchronized: bool = False,
    inner_filters: Sequence[int] | None = None,
    *,
    keras: ModuleType = keras,
) -> Model:
    """Residual network of 20, 32, 56, … layers for small images, or 18, 34, 50 for large ones.

    Input `image`: float32 `(batch, height, width, channels)` in [0, 1].
    Output `probabilities`: float32 `(batch, num_classes)`, rows sum to 1.

    Depth 8, 14, 20, 32, 44, 56, 110 is the paper's CIFAR form (its section 4.2): a 3 × 3 stem and
    three stages of 16, 32 and 64 filters, with parameter-free shortcuts, which is the paper's
    option A. Depth 18, 34, 50 is the ImageNet form (its table 1): a 7 × 7 stem, max pooling and
    four stages, with 1 × 1 projections where the shape changes, option B. Depth 50 has
    bottlenecks that stride in their 3 × 3 convolution, as torchvision's do. Convolutions have no
    bias; padding is even on both sides.

    Args:
        input_shape: image height, width and channels.
        num_classes: classes to tell apart.
        depth: weighted layers, one of those above.
        synchronized: normalise by the batch of all replicas together instead of each replica's
            own; it needs the TensorFlow backend.
        inner_filters: output channels of every convolution inside a block, all but its last, in
            order: one for each block, two for each bottleneck. None gives all of them as many as
            their stage has.
        keras: Keras namespace to build with.

    Raises:
        ShapeError: another depth, a size that is not positive, or `inner_filters` for another
            number of convolutions.

    He et al., "Deep Residual Learning for Image Recognition", 2016, arXiv:1512.03385.
    """
    checks.input_shape(input_shape, "height, width, channels")
    checks.positive(num_classes=num_classes)
    if depth not in SMALL_FORM and depth not in IMAGENET_FORM:
        depths = ", ".join(map(str, sorted([*SMALL_FORM, *IMAGENET_FORM])))
        raise ShapeError(f"resnet takes a depth out of {depths}, not {depth!r}.")
    if inner_filters is not None:
        checks.positive(inner_filters=inner_filters)
        _check_inner(inner_filters, depth)
    parts = _Parts(keras, synchronized, inner_filters)

    image = keras.Input(input_shape, name="image")
    features = _small_form if depth in SMALL_FORM else _imagenet_form
    x = features(image, depth, parts)  # (B, H', W', F)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)  # (B, F)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="resnet")


def _check_inner(inner_filters: Sequence[int], depth: int) -> None:
    if depth in SMALL_FORM:
        inside = 3 * SMALL_FORM[depth]
    else:
        inside = sum(IMAGENET_FORM[depth]) * (2 if depth in BOTTLENECKS else 1)
    if len(inner_filters) != inside:
        raise ShapeError(
            f"A resnet of depth {depth} has {inside} convolutions inside its blocks: give as many "
            f"inner_filters, not {len(inner_filters)}."
        )


def _small_form(x: Any, depth: int, parts: _Parts) -> Any:
    """(B, H, W, C) → (B, H/4, W/4, 64)."""
    x = parts.relu(parts.conv_norm(x, 16, 3, name="stem"), name="stem_relu")
    for stage, filters in enumerate((16, 32, 64), 1):
        for number in range(1, SMALL_FORM[depth] + 1):
            name = f"stage_{stage}_block_{number}"
            strides = 2 if stage > 1 and number == 1 else 1
            shortcut = parts.halve(x, name=f"{name}_shortcut") if strides == 2 else x
            x = parts.basic_block(x, shortcut, filters, strides, name)
    return x


def _imagenet_form(x: Any, depth: int, parts: _Parts) -> Any:
    """(B, H, W, C) → (B, H/32, W/32, 512), or 2048 channels with bottlenecks."""
    x = parts.relu(parts.conv_norm(x, 64, 7, strides=2, name="stem"), name="stem_relu")
    x = parts.max_pool(x, name="stem_pool")
    bottleneck = depth in BOTTLENECKS
    for stage, blocks in enumerate(IMAGENET_FORM[depth], 1):
        filters = 32 * 2**stage
        for number in range(1, blocks + 1):
            name = f"stage_{stage}_block_{number}"
            strides = 2 if stage > 1 and number == 1 else 1
            shortcut, outer = x, filters * (4 if bottleneck else 1)
            if strides == 2 or x.shape[-1] != outer:
                shortcut = parts.conv_norm(x, outer, 1, strides, name=f"{name}_shortcut")
            block = parts.bottleneck_block if bottleneck else parts.basic_block
            x = block(x, shortcut, filters, strides, name)
    return x


class _Parts:
    """The pieces of which both forms are made, in one Keras namespace."""

    def __init__(self, keras: ModuleType, synchronized: bool, inner_filters: Sequence[int] | None):
        self.keras, self.synchronized = keras, synchronized
        self._inner = None if inner_filters is None else iter(inner_filters)

    def inner(self, filters: int) -> int:
        """Channels of the next convolution inside a block; `filters` where none were given."""
        return filters if self._inner is None else next(self._inner)

    def relu(self, x: Any, name: str) -> Any:
        return self.keras.layers.Activation("relu", name=name)(x)

    def conv_norm(self, x: Any, filters: int, size: int, strides: int = 1, *, name: str) -> Any:
        """Bias-free convolution and batch normalisation: (B, H, W, C) → (B, H/s, W/s, filters)."""
        padding = "same"
        if strides > 1 and size > 1:
            # "same" with strides pads one side more than the other, unlike the paper's networks.
            x = self.keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
            padding = "valid"
        x = self.keras.layers.Conv2D(
            filters,
            size,
            strides,
            padding=padding,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
        return self.keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=self.synchronized, name=f"{name}_norm"
        )(x)

    def max_pool(self, x: Any, name: str) -> Any:
        """3 × 3 maximum with stride 2; zeros at the border, since x is not negative."""
        x = self.keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return self.keras.layers.MaxPooling2D(3, 2, name=name)(x)

    def halve(self, x: Any, name: str) -> Any:
        """Option A: every second pixel, and zeros for the new channels."""
        layers = layers_for(self.keras)
        x = self.keras.layers.MaxPooling2D(1, 2, padding="same", name=f"{name}_halves")(x)
        return layers.ZeroChannels(name=name)(x)  # (B, H/2, W/2, 2 C)

    def basic_block(self, x: Any, shortcut: Any, filters: int, strides: int, name: str) -> Any:
        """Two 3 × 3 convolutions; relu(shortcut + f(x))."""
        inner = self.inner(filters)
        x = self.relu(self.conv_norm(x, inner, 3, strides, name=f"{name}_1"), f"{name}_1_relu")
        x = self.conv_norm(x, filters, 3, name=f"{name}_2")
        x = self.keras.layers.Add(name=f"{name}_sum")([shortcut, x])
        return self.relu(x, f"{name}_relu")

    def bottleneck_block(self, x: Any, shortcut: Any, filters: int, strides: int, name: str) -> Any:
        """1 × 1, 3 × 3 and 1 × 1 convolutions, the last with four times the filters."""
        first, second = self.inner(filters), self.inner(filters)
        x = self.relu(self.conv_norm(x, first, 1, name=f"{name}_1"), f"{name}_1_relu")
        x = self.relu(self.conv_norm(x, second, 3, strides, name=f"{name}_2"), f"{name}_2_relu")
        x = self.conv_norm(x, 4 * filters, 1, name=f"{name}_3")
        x = self.keras.layers.Add(name=f"{name}_sum")([shortcut, x])
        return self.relu(x, f"{name}_relu")
