"""Record what CRI-O leaves beside its containers, as data for test_crio.py: Debian 12 brings no CRI-O for tests to run.

Run as root: ``python plugins/skydive-probe-runc/tests/record_crio.py CRIO [VERSION]``, where CRIO is the daemon's
program and VERSION that of the interface it speaks (default: v1).  It runs in a fake host with one pod and one
container, which have the labels that a kubelet gives them (pkg/kubelet/kuberuntime/labels.go), and writes
``data/cri-o-VERSION.json`` beside this file.

The program of 1.16.1 was built from github.com/cri-o/cri-o v1.16.1 by Go 1.26 with the tags containers_image_openpgp,
containers_image_ostree_stub, exclude_graphdriver_btrfs and exclude_graphdriver_devicemapper.  In its go.mod the modules
of Kubernetes were replaced by k8s.io/… v0.16.4, reflect2 by v1.0.2, and vbom.ml/util, which is not compiled, by an
empty module.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from skycore.testing.busybox import COMMAND, root_file_system
from skycore.testing.cgroup import remove_cgroups
from skycore.testing.containerd import IMAGE, NETWORK
from skycore.testing.cri import Cri
from skycore.testing.lab import FakeHost, LabError, run_checked, unique_name

POD: Final = {
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "5f1c-0a6e",
}

# The test machine does not let a process be spared by the kernel's killer, as CRI-O wants its sandboxes to be.
_RUNC: Final = """\
#!/bin/sh
before=
for word; do
    [ "$before" != --bundle ] ||
        sed -i -E "s/(\\"oomScoreAdj\\": *)-?[0-9]+/\\\\1$(cat /proc/self/oom_score_adj)/" "$word/config.json"
    before=$word
done
exec runc "$@"
"""


def _daemon(host: FakeHost, data: Path, program: str) -> list[str]:
    """Prepare what CRI-O needs, with nothing of the machine's; its command line."""
    host.run("mkdir", "-p", "/var/lib/cni")
    host.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/cni")
    (data / "networks").mkdir()
    (data / "hooks").mkdir()
    (data / "networks" / "10-pods.conflist").write_text(json.dumps(NETWORK))
    (data / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (data / "seccomp.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    (data / "crio.conf").write_text('[crio.image]\npause_command = ""\n')
    (data / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "{data}/storage"\n'
    )
    (data / "containers.conf").write_text(
        f'[engine]\nlock_type = "file"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\ntmp_dir = "/run/libpod"\n'
        f'static_dir = "{data}/libpod"\nvolume_path = "{data}/volumes"\n'
    )
    (data / "runc").write_text(_RUNC)
    (data / "runc").chmod(0o755)
    settings = ["env", f"CONTAINERS_CONF={data}/containers.conf", f"CONTAINERS_STORAGE_CONF={data}/storage.conf"]
    change = f"CMD {json.dumps(list(COMMAND))}"
    host.run(*settings, "podman", "import", "--change", change, "-", IMAGE, data=root_file_system())
    return [
        *settings, program, "--config", f"{data}/crio.conf", "--root", f"{data}/storage",
        "--runroot", "/run/containers/storage", "--storage-driver", "vfs", "--listen", "/run/crio/crio.sock",
        "--cgroup-manager", "cgroupfs", "--conmon", "/usr/bin/conmon", "--conmon-cgroup", "pod", "--pause-image", IMAGE,
        "--signature-policy", f"{data}/policy.json", "--cni-config-dir", f"{data}/networks",
        "--cni-plugin-dir", "/usr/lib/cni", "--hooks-dir", f"{data}/hooks", "--apparmor-profile", "unconfined",
        "--seccomp-profile", f"{data}/seccomp.json", "--runtimes", f"runc:{data}/runc:/run/runc",
        "--log-dir", f"{data}/logs",
        "--container-attach-socket-dir", "/run/crio", "--container-exits-dir", "/run/crio/exits",
        "--version-file", f"{data}/version",
    ]  # fmt: skip


def _record(cri: Cri, host: FakeHost) -> dict[str, Any]:
    pod = cri.run_pod(
        "web-0", "shop", uid="5f1c-0a6e", labels={**POD, "app": "web"}, annotations={"example.org/note": "x"}
    )
    container = cri.run(pod, "server", labels={**POD, "io.kubernetes.container.name": "server"})
    found = {}
    for name, id in (("sandbox", pod), ("container", container)):
        found[name] = json.loads(Path(host.path(f"/run/runc/{id}/state.json")).read_text())
    cri.remove_all()
    return found


def main() -> None:
    """Record, and write the file."""
    program, version = sys.argv[1], (sys.argv[2:] or ["v1"])[0]
    cgroup = unique_name()
    with tempfile.TemporaryDirectory() as folder, FakeHost("recorded") as host:
        data = Path(folder)
        command = _daemon(host, data, program)
        with (data / "log").open("wb") as log:
            daemon = host.popen(*command, output=log)
        cri = Cri(host.path("/run/crio/crio.sock"), cgroup, IMAGE, version)
        deadline = time.monotonic() + 20
        while True:
            try:
                told = cri.version()
                break
            except LabError:
                if daemon.outer.poll() is not None or time.monotonic() > deadline:
                    raise LabError((data / "log").read_text(errors="replace")) from None
                time.sleep(0.1)
        states = _record(cri, host)
        daemon.kill()
        daemon.wait()
    remove_cgroups(cgroup)
    release = re.search(r"cri-o.*?(\d+\.\d+\.\d+)", told, flags=re.DOTALL)
    assert release is not None, told
    document = {
        "recorded": datetime.now(UTC).date().isoformat(),
        "by": "plugins/skydive-probe-runc/tests/record_crio.py",
        "cri-o": release[1],
        "runc": run_checked(["runc", "--version"]).split()[2],
        "kernel": platform.release().partition("-")[0],
        "states": states,
    }
    target = Path(__file__).parent / "data" / f"cri-o-{release[1]}.json"
    target.parent.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1).replace(platform.release(), str(document["kernel"]))
    target.write_text(text.replace(folder, "/var/lib/crio").replace(cgroup, "pods") + "\n")


if __name__ == "__main__":
    main()
