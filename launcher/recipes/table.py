"""The 36 published models: one row each, and in it only what differs from its family.

Not here, because no file was published for them: the model zoo's rows CenterNet ResNet50 V1 FPN,
CenterNet ResNet50 V2 (both without keypoints), CenterNet MobileNetV2 FPN, Faster R-CNN Inception
ResNet V2 and ExtremeNet.
"""

from launcher.recipes.centernet import CenterNet
from launcher.recipes.efficientdet import EfficientDet
from launcher.recipes.faster_rcnn import FasterRcnn, MaskRcnn
from launcher.recipes.recipe import Recipe
from launcher.recipes.ssd import SsdFpn, SsdMobileNetV2
from launcher.recipes.training import UNSET_PATH, Training

ADAM = "adam"
DROPS = ((90_000, 1e-4), (120_000, 1e-5))  # from this step on, this rate

# fmt: off
#                              batch    steps   rate    warm-up: rate  steps
EFFICIENTDET       = Training(  128, 300_000,  0.08,           0.001,  2500)
SHORT              = Training(   64,  25_000,  0.04,        0.013333,  2000)
LONG               = Training(   64, 100_000,  0.04,        0.013333,  2000)
FPNLITE            = Training(  128,  50_000,  0.08,        0.026666,  1000)
MOBILENET_V2       = Training(  512,  50_000,  0.8,          0.13333,  2000)
EIGHT_GPUS         = Training(   16, 200_000,  0.01,             0.0,  5000)
MASKS              = Training(   16, 200_000,  0.008,            0.0,  5000)
CENTERNET          = Training(  128, 140_000,  1e-3,            1e-3,     0, DROPS, ADAM)
CENTERNET_1024     = Training(  128,  50_000,  1e-3,          2.5e-4,  5000, (), ADAM)
CENTERNET_KEYPOINT = Training(  128, 250_000,  1e-3,          2.5e-4,  5000, (), ADAM)
# fmt: on


def _efficientdet(
    level: int,
    size: int,
    backbone: str,
    filters: int,
    iterations: int,
    head: int,
    cores: int,
    published_map: float,
    combine: str | None = None,
) -> Recipe:
    zoo_size = 1280 if level == 6 else size  # the zoo's page calls D6 1280x1280; its file has 1408
    return Recipe(
        name=f"efficientdet_d{level}",
        title=f"EfficientDet D{level} {zoo_size}x{zoo_size}",
        file=f"ssd_efficientdet_d{level}_{size}x{size}_coco17_tpu-{cores}.config",
        model=EfficientDet(size, backbone, filters, iterations, head, combine),
        training=EFFICIENTDET,
        published_map=published_map,
    )


def _retinanet(depth: int, size: int, training: Training, published_map: float) -> Recipe:
    return Recipe(
        name=f"ssd_resnet{depth}_v1_fpn_{size}",
        title=f"SSD ResNet{depth} V1 FPN {size}x{size} (RetinaNet{depth})",
        file=f"ssd_resnet{depth}_v1_fpn_{size}x{size}_coco17_tpu-8.config",
        model=SsdFpn(f"resnet{depth}_v1", size),
        training=training,
        published_map=published_map,
    )


def _fpnlite(size: int, published_map: float) -> Recipe:
    return Recipe(
        name=f"ssd_mobilenet_v2_fpnlite_{size}",
        title=f"SSD MobileNet V2 FPNLite {size}x{size}",
        file=f"ssd_mobilenet_v2_fpnlite_{size}x{size}_coco17_tpu-8.config",
        model=SsdFpn("mobilenet_v2", size, lite=True),
        training=FPNLITE,
        published_map=published_map,
    )


def _faster_rcnn_640(depth: int, published_map: float) -> Recipe:
    return Recipe(
        name=f"faster_rcnn_resnet{depth}_v1_640",
        title=f"Faster R-CNN ResNet{depth} V1 640x640",
        file=f"faster_rcnn_resnet{depth}_v1_640x640_coco17_tpu-8.config",
        model=FasterRcnn(f"resnet{depth}", (640, 640), tpu=True, augmentation="plain"),
        training=SHORT,
        published_map=published_map,
    )


def _faster_rcnn_1024(depth: int, published_map: float) -> Recipe:
    return Recipe(
        name=f"faster_rcnn_resnet{depth}_v1_1024",
        title=f"Faster R-CNN ResNet{depth} V1 1024x1024",
        file=f"faster_rcnn_resnet{depth}_v1_1024x1024_coco17_tpu-8.config",
        model=FasterRcnn(f"resnet{depth}", 1024, tpu=True, augmentation="strong"),
        training=LONG,
        published_map=published_map,
    )


def _faster_rcnn_800x1333(depth: int, published_map: float) -> Recipe:
    return Recipe(
        name=f"faster_rcnn_resnet{depth}_v1_800x1333",
        title=f"Faster R-CNN ResNet{depth} V1 800x1333",
        file=f"faster_rcnn_resnet{depth}_v1_800x1333_coco17_gpu-8.config",
        model=FasterRcnn(f"resnet{depth}", (800, 1333), tpu=False, augmentation="strong"),
        training=EIGHT_GPUS,
        published_map=published_map,
    )


# fmt: off
EFFICIENTDETS = (
    # level, size, backbone, filters, BiFPN iterations, head layers, cores, mAP
    _efficientdet(0,  512, "b0",  64, 3, 3,  8, 33.6),
    _efficientdet(1,  640, "b1",  88, 4, 3,  8, 38.4),
    _efficientdet(2,  768, "b2", 112, 5, 3,  8, 41.8),
    _efficientdet(3,  896, "b3", 160, 6, 4, 32, 45.4),
    _efficientdet(4, 1024, "b4", 224, 7, 4, 32, 48.5),
    _efficientdet(5, 1280, "b5", 288, 7, 4, 32, 49.7),
    _efficientdet(6, 1408, "b6", 384, 8, 5, 32, 50.5, combine="sum"),  # unweighted, for stability
    _efficientdet(7, 1536, "b6", 384, 8, 5, 32, 51.2, combine="sum"),
)
# fmt: on

SSDS = (
    Recipe(
        name="ssd_mobilenet_v2_320",
        title="SSD MobileNet v2 320x320",  # so the zoo's page and the file's name; it trains at 300
        file="ssd_mobilenet_v2_320x320_coco17_tpu-8.config",
        model=SsdMobileNetV2(300),
        training=MOBILENET_V2,
        published_map=20.2,
    ),
    _fpnlite(320, 22.2),
    _fpnlite(640, 28.2),
    Recipe(
        name="ssd_mobilenet_v1_fpn_640",
        title="SSD MobileNet V1 FPN 640x640",
        file="ssd_mobilenet_v1_fpn_640x640_coco17_tpu-8.config",
        model=SsdFpn("mobilenet_v1", 640),
        training=SHORT,
        published_map=29.1,
    ),
    _retinanet(50, 640, SHORT, 34.3),
    _retinanet(101, 640, SHORT, 35.6),
    _retinanet(152, 640, SHORT, 35.4),
    _retinanet(50, 1024, LONG, 38.3),
    _retinanet(101, 1024, LONG, 39.5),
    _retinanet(152, 1024, LONG, 39.6),
)

FASTER_RCNNS = (
    _faster_rcnn_640(50, 29.3),
    _faster_rcnn_640(101, 31.8),
    _faster_rcnn_640(152, 32.4),
    _faster_rcnn_1024(50, 31.0),
    _faster_rcnn_1024(101, 37.1),
    _faster_rcnn_1024(152, 37.6),
    _faster_rcnn_800x1333(50, 31.6),
    _faster_rcnn_800x1333(101, 36.6),
    _faster_rcnn_800x1333(152, 37.4),
    Recipe(
        name="faster_rcnn_resnet50_v1_fpn_640",
        title="Faster R-CNN ResNet50 V1 FPN 640x640",
        file="faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-8.config",
        model=FasterRcnn("resnet50", (640, 640), tpu=True, augmentation="plain", fpn=True),
        training=SHORT,
        published_map=None,  # no row on the zoo's page; a comment in the file claims 31.4
    ),
    Recipe(
        name="mask_rcnn_inception_resnet_v2_1024",
        title="Mask R-CNN Inception ResNet V2 1024x1024",
        file="mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8.config",
        model=MaskRcnn("inception_resnet_v2", 1024),
        training=MASKS,
        published_map=39.0,  # a comment in the file claims 40.4 for boxes and 35.5 for masks
        published_mask_map=34.6,
    ),
)

CENTERNETS = (
    Recipe(
        name="centernet_hourglass104_512",
        title="CenterNet HourGlass104 512x512",
        file="centernet_hourglass104_512x512_coco17_tpu-8.config",
        model=CenterNet("hourglass_104", 512, f"{UNSET_PATH}/ckpt-1"),
        training=CENTERNET,
        published_map=41.9,
    ),
    Recipe(
        name="centernet_hourglass104_1024",
        title="CenterNet HourGlass104 1024x1024",
        file="centernet_hourglass104_1024x1024_coco17_tpu-32.config",
        model=CenterNet("hourglass_104", 1024, f"{UNSET_PATH}/ckpt-1", square_crop=True),
        training=CENTERNET_1024,
        published_map=44.5,
    ),
    Recipe(
        name="centernet_resnet101_v1_fpn_512",
        title="CenterNet Resnet101 V1 FPN 512x512",
        file="centernet_resnet101_v1_fpn_512x512_coco17_tpu-8.config",
        # The name says V1 FPN, the file's feature extractor is V2 without one. Kept as published.
        model=CenterNet("resnet_v2_101", 512, f"{UNSET_PATH}/weights-1"),
        training=CENTERNET,
        published_map=34.2,
    ),
    Recipe(
        name="centernet_hourglass104_512_kpts",
        title="CenterNet HourGlass104 Keypoints 512x512",
        file="centernet_hourglass104_512x512_kpts_coco17_tpu-32.config",
        model=CenterNet("hourglass_104", 512, UNSET_PATH, keypoints=True, eval_once=False),
        training=CENTERNET_KEYPOINT,
        published_map=40.0,
        published_keypoint_map=61.4,
    ),
    Recipe(
        name="centernet_hourglass104_1024_kpts",
        title="CenterNet HourGlass104 Keypoints 1024x1024",
        file="centernet_hourglass104_1024x1024_kpts_coco17_tpu-32.config",
        model=CenterNet("hourglass_104", 1024, UNSET_PATH, square_crop=True, keypoints=True),
        training=CENTERNET_KEYPOINT,
        published_map=42.8,
        published_keypoint_map=64.5,
    ),
    Recipe(
        name="centernet_resnet50_v1_fpn_512_kpts",
        title="CenterNet Resnet50 V1 FPN Keypoints 512x512",
        file="centernet_resnet50_v1_fpn_512x512_kpts_coco17_tpu-8.config",
        model=CenterNet("resnet_v1_50_fpn", 512, UNSET_PATH, keypoints=True),
        training=CENTERNET_KEYPOINT,
        published_map=29.3,
        published_keypoint_map=50.7,
    ),
    Recipe(
        name="centernet_resnet50_v2_512_kpts",
        title="CenterNet Resnet50 V2 Keypoints 512x512",
        file="centernet_resnet50_v2_512x512_kpts_coco17_tpu-8.config",
        model=CenterNet("resnet_v2_50", 512, UNSET_PATH, keypoints=True),
        training=CENTERNET_KEYPOINT,
        published_map=27.6,
        published_keypoint_map=48.2,
    ),
)

RECIPES: tuple[Recipe, ...] = (*EFFICIENTDETS, *SSDS, *FASTER_RCNNS, *CENTERNETS)
