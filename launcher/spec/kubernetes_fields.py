"""What Kubernetes takes for a name, a label, an image or an amount of memory.

An API server would say so too, but of the third object that it is given, when two are there.
"""

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from launcher.spec.fields import given, quoted, refusal, sound
from launcher.spec.yaml_tree import shown

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_QUALIFIED = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Mi|Gi|Ti|M|G|T)")
_UNITS = {"M": 10**6, "G": 10**9, "T": 10**12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SECRET_KEY = re.compile(r"[-._A-Za-z0-9]+")
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")
_DOMAIN = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_PATH = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"({_DOMAIN}(\.{_DOMAIN})*(:[0-9]+)?/)?{_PATH}(/{_PATH})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_LONGEST_NAME, _LONGEST_LABEL = 253, 63
"""Characters of a DNS subdomain and of a DNS label (RFC 1123); labels' values have 63 as well."""


def quantity_bytes(text: str) -> int:
    """Of an amount of memory; 0 for what is none."""
    found = _QUANTITY.fullmatch(text)
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0


def _is_name(text: str) -> str:
    parts = text.split(".")
    if not all(_LABEL.fullmatch(p) and len(p) <= _LONGEST_LABEL for p in parts):
        raise refusal(
            f"{quoted(text)} is not a Kubernetes name: small letters, digits and dashes",
            "Use the name of an object in the cluster",
        )
    return _at_most(text, _LONGEST_NAME)


def _is_queue(text: str) -> str:
    return _at_most(_is_name(text), _LONGEST_LABEL)


def _is_namespace(text: str) -> str:
    if "." in text:
        raise refusal(
            f"{quoted(text)} is not the name of a namespace, which has no dots",
            "Use the name of one (`kubectl get namespaces`)",
        )
    return _is_name(text)


def _at_most(text: str, most: int) -> str:
    if len(text) > most:
        raise refusal(f"{quoted(text)} has {len(text)} characters", f"Use at most {most}")
    return text


def _is_qualified(text: str) -> str:
    if not _QUALIFIED.fullmatch(text) or len(text.rpartition("/")[0]) > _LONGEST_NAME:
        raise refusal(
            f"{quoted(text)} is not the name of a label or a resource",
            "Write it as example.com/name: letters, digits, dashes, dots and _",
        )
    return text


def _is_device(text: str) -> str:
    _is_qualified(text)
    if "/" not in text or text.startswith("requests."):
        raise refusal(
            f"{quoted(text)} is not the name of a device plugin's resource",
            "Write it with the vendor's domain, as nvidia.com/gpu",
        )
    return text


def _is_label_value(text: str) -> str:
    if not _LABEL_VALUE.fullmatch(text):
        raise refusal(
            f"{quoted(text)} is not the value of a label",
            "Use at most 63 letters, digits, dashes, dots and _, a letter or digit at both ends",
        )
    return text


def _is_quantity(value: Any) -> Any:
    """Kubernetes reads 16 as 16 bytes, which nobody means."""
    if not isinstance(value, str) or not quantity_bytes(value):
        raise refusal(f"{shown(value)} is not an amount of memory", "Write it as 16Gi or 512Mi")
    return value


def _is_image(text: str) -> str:
    if not _IMAGE.fullmatch(given(text)):
        raise refusal(
            f"{quoted(text)} is not the name of an image",
            "Write it as registry.example.com/launcher:0.1.0, its path in small letters",
        )
    return text


def _is_host(text: str) -> str:
    if not _HOST.fullmatch(given(text)):
        raise refusal(
            f"{quoted(text)} is not the name or the address of a host",
            "Write it as nfs.example.com or 10.0.0.5",
        )
    return text


def _is_secret_key(text: str) -> str:
    if not _SECRET_KEY.fullmatch(given(text)) or text == "." or text.startswith(".."):
        raise refusal(
            f"{quoted(text)} is not a key of a Secret: letters, digits, dashes, dots and _",
            "Use one that `kubectl describe secret` lists",
        )
    return _at_most(text, _LONGEST_NAME)


def _is_mount(text: str) -> str:
    sound(text)
    if not text.startswith("/"):
        raise refusal(f"{quoted(text)} is not an absolute path", f"Use /{text.lstrip('./')}")
    if ".." in text.split("/"):
        raise refusal(f"{quoted(text)} has a .. in it", f"Use {os.path.normpath(text)}")
    return text


def _is_sub_path(text: str) -> str:
    sound(text)
    if text.startswith("/") or ".." in text.split("/"):
        raise refusal(
            f"{quoted(text)} is not a folder inside the volume",
            "Write it from the volume's root without a slash in front and without .., as data/coco",
        )
    return text


KubernetesName = Annotated[str, AfterValidator(_is_name)]
QueueName = Annotated[str, AfterValidator(_is_queue)]
"""Kueue's are values of labels too."""
Namespace = Annotated[str, AfterValidator(_is_namespace)]
QualifiedName = Annotated[str, AfterValidator(_is_qualified)]
"""Key of a Kubernetes label or taint: example.com/pool."""
DeviceName = Annotated[str, AfterValidator(_is_device)]
"""What a device plugin offers: nvidia.com/gpu."""
LabelValue = Annotated[str, AfterValidator(_is_label_value)]
Quantity = Annotated[str, BeforeValidator(_is_quantity)]
ImageName = Annotated[str, AfterValidator(_is_image)]
HostName = Annotated[str, AfterValidator(_is_host)]
SecretKey = Annotated[str, AfterValidator(_is_secret_key)]
MountPath = Annotated[str, AfterValidator(_is_mount)]
SubPath = Annotated[str, AfterValidator(_is_sub_path)]
