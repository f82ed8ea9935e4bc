"""Networks for images, with random weights: in full, and cut down for an interpreter."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.models as tv
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import Bottleneck

from entry import Entry, axis

BATCH = axis("batch", 1, 64)


def images(model, size, full):
    """An entry for one network of square images whose number is open."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, module.in_features**-0.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.1)
        # Layers that begin as almost nothing would hide mistakes in them.
        if hasattr(module, "layer_scale"):
            nn.init.uniform_(module.layer_scale, 0.5, 1.0)
    batch = 1 if full else 2
    return Entry(
        model,
        names=["image"],
        example=(torch.randn(2, 3, size, size),),
        inputs=(torch.randn(batch + 1, 3, size, size),),
        axes=[{0: BATCH}],
        outputs=["y"],
    )


def resnet50(full):
    model = tv.resnet50(weights=None) if full else tv.ResNet(Bottleneck, [1, 1, 1, 1], 10, width_per_group=16)
    return images(model, 224 if full else 64, full)


def mobilenet_v3(full):
    model = tv.mobilenet_v3_large(weights=None) if full else tv.mobilenet_v3_small(weights=None, num_classes=10)
    return images(model, 224 if full else 48, full)


def efficientnet_b0(full):
    return images(tv.efficientnet_b0(weights=None, num_classes=1000 if full else 10), 224 if full else 48, full)


def convnext_tiny(full):
    if full:
        return images(tv.convnext_tiny(weights=None), 224, full)
    blocks = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 2)]
    return images(tv.ConvNeXt(blocks, num_classes=10), 32, full)


def vit_b_16(full):
    if full:
        return images(tv.vit_b_16(weights=None), 224, full)
    return images(tv.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10), 32, full)


def swin_t(full):
    if full:
        return images(tv.swin_t(weights=None), 224, full)
    return images(tv.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=10), 32, full)


class UNet(nn.Module):
    """Down by strided convolutions, up by transposed ones and by interpolation, joined across."""

    def __init__(self, width):
        super().__init__()

        def twice(a, b):
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
                nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.SiLU(),
            )

        self.a, self.b, self.c = twice(3, width), twice(width, 2 * width), twice(2 * width, 4 * width)
        self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.d, self.e = twice(4 * width, 2 * width), twice(3 * width, width)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.avg_pool2d(b, 2))
        d = self.d(torch.cat([self.up1(c), b], 1))
        up = F.interpolate(d, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(self.e(torch.cat([up, a], 1)))


def unet(full):
    return images(UNet(32 if full else 4), 128 if full else 32, full)


ENTRIES = [resnet50, mobilenet_v3, efficientnet_b0, convnext_tiny, vit_b_16, swin_t, unet]
