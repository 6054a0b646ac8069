"""The operating system: its names, boot, memory, and what it runs on.

Sources: os-release(5), uname(2), proc(5) (/proc/cmdline, /proc/meminfo, /proc/stat), the kernel's
Documentation/admin-guide/kernel-parameters.rst (quoting and ``--``).
"""

from __future__ import annotations

import platform
import re
import shlex
from typing import Any, Final

from skydive_probe_hardware.files import Files

_FAMILIES: Final = {
    "debian": ("debian", "ubuntu", "linuxmint", "raspbian", "devuan", "kali"),
    "rhel": ("rhel", "redhat", "centos", "ol", "oracle", "rocky", "almalinux", "scientific", "amzn", "cloudlinux"),
    "fedora": ("fedora",),
    "suse": ("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles", "sled"),
    "arch": ("arch", "manjaro", "endeavouros"),
    "alpine": ("alpine",),
    "gentoo": ("gentoo", "flatcar"),
    "slackware": ("slackware",),
    "void": ("void",),
}

_CONTAINER_FILES: Final = (("run/.containerenv", "podman"), (".dockerenv", "docker"))
_CONTAINER_CGROUPS: Final = (
    ("/docker/", "docker"), ("/docker-", "docker"), ("/kubepods", "kubernetes"), ("/lxc/", "lxc"),
    ("/lxc.payload", "lxc"), ("/libpod-", "podman"), ("/machine.slice/systemd-nspawn", "systemd-nspawn"),
)  # fmt: skip

# DMI: what the maker of a virtual machine calls itself or its product.
_DMI_NAMES: Final = (
    ("KVM", "kvm"), ("OpenStack", "kvm"), ("KubeVirt", "kvm"), ("Amazon EC2", "kvm"), ("Google", "kvm"),
    ("DigitalOcean", "kvm"), ("QEMU", "qemu"), ("VMware", "vmware"), ("VMW", "vmware"), ("innotek GmbH", "vbox"),
    ("VirtualBox", "vbox"), ("Oracle Corporation", "vbox"), ("Xen", "xen"), ("Bochs", "bochs"),
    ("Parallels", "parallels"), ("BHYVE", "bhyve"), ("Hyper-V", "hyperv"), ("Microsoft Corporation", "hyperv"),
    ("Apple Virtualization", "apple"), ("Firecracker", "kvm"), ("Cloud Hypervisor", "kvm"),
)  # fmt: skip
_SECRET: Final = re.compile(r"pass(wd|word|phrase)?$|passw|secret|token|credential|(^|[._-])key$", re.IGNORECASE)
_CLOCKS: Final = (("kvm-clock", "kvm"), ("hyperv", "hyperv"), ("xen", "xen"))


def system(files: Files, release: str, architecture: str) -> dict[str, Any]:
    """Names, versions, virtualization, boot and memory; keys whose value is unknown are absent.

    ``release`` and ``architecture`` are uname(2)'s.
    """
    names = os_release(files.text("etc/os-release") or files.text("usr/lib/os-release") or "")
    virtual, role = virtualization(files)
    found: dict[str, Any] = {
        "OS": "linux",
        "Platform": names.get("ID", ""),
        "PlatformFamily": family(names),
        "PlatformVersion": names.get("VERSION_ID", ""),
        "KernelVersion": release,
        "Architecture": architecture,
        "VirtualizationSystem": virtual,
        "VirtualizationRole": role,
        "KernelCmdLine": command_line(files.text("proc/cmdline") or ""),
        "InstanceID": files.text("var/lib/cloud/data/instance-id"),
        "BootTime": boot_time(files.text("proc/stat") or ""),
        "Memory": memory(files),
    }
    return {key: value for key, value in found.items() if value}


def here() -> tuple[str, str]:
    """Release and architecture of the running kernel."""
    name = platform.uname()
    return name.release, name.machine


def os_release(text: str) -> dict[str, str]:
    """The assignments of os-release(5); lines that are none are passed over."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*([A-Za-z0-9_]+)=(.*)", line)
        if match:
            try:
                found[match[1]] = "".join(shlex.split(match[2]))
            except ValueError:
                found[match[1]] = match[2].strip()
    return found


def family(names: dict[str, str]) -> str:
    """The family of distributions, from ID, else from ID_LIKE; "" when it is unknown."""
    for id in (names.get("ID", ""), *names.get("ID_LIKE", "").split()):
        for name, members in _FAMILIES.items():
            if id in members:
                return name
    return names.get("ID_LIKE", "").partition(" ")[0]


def command_line(text: str) -> dict[str, str | bool]:
    """Kernel parameters: ``k=v`` is a text, a bare word is True, the last of a name wins.

    Quotes keep spaces together.  What follows ``--`` is for init and left out; secrets are shown as ``***``.
    """
    found: dict[str, str | bool] = {}
    for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', text):
        if word == "--":
            break
        name, equals, value = word.replace('"', "").partition("=")
        if name:
            found[name] = ("***" if _SECRET.search(name) else value) if equals else True
    return found


def boot_time(stat: str) -> int | None:
    """When the kernel started, in ms since the epoch."""
    match = re.search(r"^btime (\d{1,15})$", stat, re.MULTILINE | re.ASCII)
    return int(match[1]) * 1000 if match else None


def memory(files: Files) -> dict[str, Any]:
    """Bytes of memory and swap, and of memory set aside as huge pages, by the size of a page in bytes."""
    meminfo = files.text("proc/meminfo") or ""
    found: dict[str, Any] = {}
    for key, name in (("Total", "MemTotal"), ("SwapTotal", "SwapTotal")):
        match = re.search(rf"^{name}:\s+(\d{{1,15}}) kB$", meminfo, re.MULTILINE | re.ASCII)
        if match and int(match[1]):
            found[key] = int(match[1]) * 1024
    huge = {}
    for name in files.names("sys/kernel/mm/hugepages"):
        match = re.fullmatch(r"hugepages-(\d{1,12})kB", name, re.ASCII)
        pages = files.number(f"sys/kernel/mm/hugepages/{name}/nr_hugepages")
        if match and pages:
            huge[str(int(match[1]) * 1024)] = pages
    if huge:
        found["HugePages"] = huge
    return found


def virtualization(files: Files) -> tuple[str, str]:
    """(system, role): the container that the agent runs in, else the hypervisor below, else the one that this host is.

    ("", "") on bare metal that hosts nothing.
    """
    container = _container(files)
    if container:
        return container, "guest"
    machine = _machine(files)
    if machine:
        return machine, "guest"
    if files.text("sys/hypervisor/type") == "xen":
        return "xen", "host"
    if files.exists("sys/module/kvm") and files.exists("dev/kvm"):
        return "kvm", "host"
    return "", ""


def _container(files: Files) -> str:
    told = files.text("run/systemd/container")
    if told:
        return told
    for path, name in _CONTAINER_FILES:
        if files.exists(path):
            return name
    groups = files.text("proc/self/cgroup") or ""
    return next((name for mark, name in _CONTAINER_CGROUPS if mark in groups), "")


def _machine(files: Files) -> str:
    if files.exists("proc/xen") and "control_d" not in (files.text("proc/xen/capabilities") or ""):
        return "xen"
    dmi = " ".join(
        files.text(f"sys/class/dmi/id/{name}") or ""
        for name in ("sys_vendor", "product_name", "product_version", "bios_vendor", "board_vendor")
    )
    for mark, name in _DMI_NAMES:
        # These two also make real machines.
        if mark in dmi and (mark not in ("Microsoft Corporation", "Google") or "Virtual" in dmi or "Compute" in dmi):
            if mark == "Oracle Corporation" and "VirtualBox" not in dmi:
                continue
            return name
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", files.text("proc/cpuinfo") or "", re.MULTILINE)
    if flags:
        clocks = files.text("sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
        return next((name for mark, name in _CLOCKS if mark in clocks), "vm")
    return "qemu" if files.exists("proc/device-tree/hypervisor") else ""
