"""A Kubernetes manifest in a real guest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Host, wait_until
from tests.e2e.test_images import busybox
from tests.images.archives import Image, docker_files, layer, write_tar

pytestmark = pytest.mark.vm

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: market, labels: {app: market}}
spec:
  hostname: stall
  securityContext: {sysctls: [{name: net.core.somaxconn, value: "777"}]}
  restartPolicy: Never
  containers:
    - name: writer
      image: e2e/busybox
      command: ["/bin/sh", "-c"]
      args:
        - id -u; hostname; echo "$(GREETING)"; touch /x || echo read-only;
          echo shared > /cache/file; echo memory > /quick/file;
          echo $LABEL; cat /proc/sys/net/core/somaxconn; read line; echo got $line;
          exec sleep 1000
      stdin: true
      env:
        - {name: GREETING, value: hello}
        - {name: LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
      securityContext:
        runAsUser: 7
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
      resources: {limits: {memory: 64Mi, cpu: 100m}}
      livenessProbe: {exec: {command: ["true"]}}
      volumeMounts:
        - {name: cache, mountPath: /cache}
        - {name: quick, mountPath: /quick}
    - name: reader
      image: e2e/busybox
      args: ["sleep", "1000"]
      volumeMounts:
        - {name: cache, mountPath: /cache, readOnly: true}
        - {name: quick, mountPath: /fast}
  volumes:
    - {name: cache, emptyDir: {}}
    - {name: quick, emptyDir: {medium: Memory, sizeLimit: 2Mi}}
"""


def test_a_manifest_runs_as_it_says(host: Host, guest_cache: Path) -> None:
    made = Image((layer(*busybox(guest_cache)),))
    path = write_tar(host.root / "busybox.tar", docker_files(made, "e2e/busybox"))
    host.do("image", "import", str(path))
    done = host.run("pod", "run", host.file("market.yaml", MANIFEST))
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(
        "spec.containers[0].livenessProbe is not supported and has no effect\n"
    )

    def log() -> list[str]:
        return host.do("logs", "market", "writer").splitlines()

    wait_until(lambda: "777" in log(), "what the writer tells")
    lines = log()
    assert lines[:3] == ["7", "stall", "hello"]
    assert "read-only" in lines
    assert lines[-2:] == ["market", "777"]
    with host.start("container", "attach", "market", "writer", stdin=subprocess.PIPE) as attached:
        assert attached.stdin
        attached.stdin.write("typed\n")
        attached.stdin.flush()
        wait_until(lambda: "got typed" in log(), "what was typed")
        attached.kill()
    status = host.status("market")
    assert status["machine"]["memory"] == 256 + 64
    assert status["annotations"]["io.kubernetes.pod.restart-policy"] == "Never"
    exec_reader = ("container", "exec", "market", "reader", "--")
    assert host.do(*exec_reader, "cat", "/cache/file") == "shared\n"
    assert host.run(*exec_reader, "touch", "/cache/other").returncode
    assert host.do(*exec_reader, "cat", "/fast/file") == "memory\n"
    assert host.do(*exec_reader, "df", "-k", "/fast").split()[8] == "2048"
    host.do("pod", "stop", "market")
    host.do("pod", "start", "market")
    assert host.do(*exec_reader, "cat", "/cache/file") == "shared\n"
    host.do("pod", "delete", "market")
    assert host.left_over() == []
    host.do("image", "remove", "e2e/busybox")
