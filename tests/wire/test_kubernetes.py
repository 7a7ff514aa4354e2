"""Kubernetes manifests become pods; nothing is dropped in silence."""

from __future__ import annotations

import contextlib
import copy
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import FileProblem, InvalidConfig
from vctui.model import capabilities
from vctui.model.checks import check_pod
from vctui.model.kinds import NetworkModel
from vctui.model.pod import PodConfig
from vctui.wire import kubernetes, yamltext

TEXT = """
apiVersion: v1
kind: Pod
metadata:
  name: shop
  namespace: market
  labels: {app: shop}
  annotations: {org.example: kept}
  uid: 2b1d
spec:
  hostname: till
  restartPolicy: Never
  securityContext: {runAsUser: 7, supplementalGroups: [9]}
  containers:
    - name: main
      image: shop/server:1.4
      command: ["/bin/server", "$(MODE)"]
      args: ["$$(MODE)", "$(NOTHING)"]
      env:
        - {name: MODE, value: fast}
        - {name: BOTH, value: "$(MODE)er"}
      workingDir: /srv
      tty: true
      stdin: true
      securityContext:
        runAsGroup: 8
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL], add: [NET_ADMIN]}
      resources:
        limits: {memory: 100Mi, cpu: 500m}
      volumeMounts:
        - {name: data, mountPath: /data, readOnly: true, subPath: deep}
        - {name: cache, mountPath: /cache}
    - name: side
      image: side
      resources:
        limits: {memory: 1M, cpu: 1}
      volumeMounts:
        - {name: cache, mountPath: /cache}
        - {name: fast, mountPath: /fast}
  volumes:
    - {name: data, hostPath: {path: /srv/data, type: Directory}}
    - {name: cache, emptyDir: {}}
    - {name: fast, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
status: {phase: Running}
"""
MANIFEST = yamltext.parse_yaml(TEXT, source="shop.yaml")


def changed(path: str, value: object) -> dict[str, Any]:
    """The manifest with one field set; numbers in the path are places in a list."""
    document = copy.deepcopy(MANIFEST)
    *above, last = path.split(".")
    table: Any = document
    for key in above:
        table = table[int(key)] if key.isdecimal() else table.setdefault(key, {})
    table[int(last) if last.isdecimal() else last] = value
    return document


def translate(document: dict[str, Any]) -> tuple[PodConfig, list[str]]:
    data, warnings = kubernetes.pod_of_manifest(document, base_memory=256)
    return check_pod(msgspec.convert(data, PodConfig)), warnings


def test_a_manifest_becomes_a_pod_without_a_warning() -> None:
    pod, warnings = translate(MANIFEST)
    assert warnings == []
    assert (pod.id, pod.hostname) == ("shop", "till")
    assert (pod.vm_config.vcpus, pod.vm_config.memory) == (2, 256 + 100 + 1)
    limits = pod.containers[0].resources
    assert (limits.cpu_quota, limits.memory_limit) == (50_000, 100 * 1024**2)
    assert limits.cpu_shares == 512
    assert pod.annotations == {
        "org.example": "kept",
        "io.kubernetes.pod.label/app": "shop",
        "io.kubernetes.pod.namespace": "market",
        "io.kubernetes.pod.restart-policy": "Never",
    }
    main, side = pod.containers
    assert (main.id, main.image, main.readonly_rootfs) == ("main", "shop/server:1.4", True)
    assert main.entrypoint == ("/bin/server", "fast")
    cmd = main.cmd
    assert cmd.args == ("$(MODE)", "$(NOTHING)")
    assert [str(each) for each in cmd.envs] == ["MODE=fast", "BOTH=faster"]
    assert (cmd.work_dir, cmd.user, cmd.primary_group) == ("/srv", "7", "8")
    assert cmd.supplementary_groups == ("9",)
    assert cmd.interactive
    assert cmd.no_new_privileges
    assert cmd.capabilities is not None
    assert cmd.capabilities.bounding == cmd.capabilities.effective == ("CAP_NET_ADMIN",)
    assert [(m.type, m.source, m.destination, m.read_only) for m in main.mounts] == [
        ("bind", "/srv/data/deep", "/data", True),
        ("empty-dir", "cache", "/cache", False),
    ]
    assert (side.entrypoint, side.cmd.args, side.cmd.user) == (None, (), "7")
    assert side.cmd.capabilities is None
    assert not side.cmd.no_new_privileges
    assert [(m.type, m.options) for m in side.mounts] == [
        ("empty-dir", ()),
        ("tmpfs", ("size=1048576",)),
    ]


MAIN = "spec.containers.0"
UNSUPPORTED = {
    "spec.nodeName": "node",
    "spec.initContainers": [{"name": "first"}],
    "spec.hostNetwork": True,
    f"{MAIN}.livenessProbe": {"exec": {"command": ["true"]}},
    f"{MAIN}.imagePullPolicy": "Always",
    f"{MAIN}.env.0": {"name": "POD", "valueFrom": {"fieldRef": {}}},
    f"{MAIN}.envFrom": [{"configMapRef": {"name": "x"}}],
    f"{MAIN}.resources.requests": {"cpu": "1", "memory": "1Mi"},
    f"{MAIN}.resources.limits.ephemeral-storage": "1Gi",
    f"{MAIN}.securityContext.privileged": True,
    f"{MAIN}.securityContext.seccompProfile": {"type": "RuntimeDefault"},
    f"{MAIN}.volumeMounts.1.subPath": "deep",
    f"{MAIN}.volumeMounts.0.mountPropagation": "Bidirectional",
    "spec.securityContext.fsGroup": 5,
    "spec.volumes.0.hostPath.type": "DirectoryOrCreate",
    "spec.volumes.1.emptyDir.sizeLimit": "1Gi",
    "metadata.generateName": "shop-",
    "other": {"a": 1},
}


@pytest.mark.parametrize("path", UNSUPPORTED)
def test_what_has_no_effect_is_named_with_its_path(path: str) -> None:
    _, warnings = translate(changed(path, UNSUPPORTED[path]))
    shown = path
    for place in "01":
        shown = shown.replace(f".{place}", f"[{place}]")
    assert len(warnings) == 1
    assert warnings[0].startswith(shown)


def test_ports_of_the_host_need_a_network_and_others_nothing() -> None:
    listening = {"name": "web", "containerPort": 80}
    pod, warnings = translate(changed(f"{MAIN}.ports", [listening]))
    assert (pod.network_model, warnings) == (NetworkModel.NOOP, [])
    given = [{**listening, "hostPort": 8080}, {**listening, "hostPort": 53, "protocol": "UDP"}]
    pod, warnings = translate(changed(f"{MAIN}.ports", [listening, *given]))
    assert (pod.network_model, warnings) == (NetworkModel.CNI, [])
    ports = [str(one) for one in pod.network_config.port_mappings]
    assert ports == ["8080/tcp -> 80", "53/udp -> 80"]


def test_a_volume_of_another_kind_is_not_mounted_and_named() -> None:
    document = changed("spec.volumes.0", {"name": "data", "configMap": {"name": "x"}})
    pod, warnings = translate(document)
    assert [mount.source for mount in pod.containers[0].mounts] == ["cache"]
    assert warnings == [
        "spec.volumes[0].configMap is not supported and has no effect",
        (
            "spec.containers[0].volumeMounts[0].name is 'data', which is not supported; "
            "/data is not mounted"
        ),
    ]


def test_a_volume_in_memory_that_several_mount_is_in_the_machines() -> None:
    document = changed("spec.volumes.1.emptyDir", {"medium": "Memory", "sizeLimit": "2Mi"})
    pod, warnings = translate(document)
    assert warnings == []
    mount = pod.containers[0].mounts[1]
    assert (mount.type, mount.source, mount.options) == ("memory-dir", "cache", ("size=2097152",))


def test_variables_may_name_fields_of_the_pod() -> None:
    document = changed(
        f"{MAIN}.env",
        [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in (
                ("NAME", "metadata.name"),
                ("SPACE", "metadata.namespace"),
                ("LABEL", "metadata.labels['app']"),
                ("NODE", "spec.nodeName"),
            )
        ],
    )
    document["metadata"] = {"name": "shop", "labels": {"app": "x"}}
    pod, (warning,) = translate(document)
    assert [str(one) for one in pod.containers[0].cmd.envs] == [
        "NAME=shop",
        "SPACE=default",
        "LABEL=x",
    ]
    assert warning == (
        "spec.containers[0].env[3].valueFrom is not supported; the variable NODE is not set"
    )


def test_kernel_parameters_and_hidden_paths_are_the_containers() -> None:
    document = changed(
        "spec.securityContext.sysctls", [{"name": "net.core.somaxconn", "value": "9"}]
    )
    document["spec"]["securityContext"]["seccompProfile"] = {"type": "Unconfined"}
    container = document["spec"]["containers"][0]
    container["securityContext"]["procMount"] = "Unmasked"
    container |= {"stdin": True, "tty": False}
    pod, warnings = translate(document)
    assert warnings == []
    first, second = pod.containers
    assert first.linux.sysctl == second.linux.sysctl == {"net.core.somaxconn": "9"}
    assert (first.linux.masked_paths, second.linux.masked_paths) == ((), None)
    assert (first.cmd.stdin, first.cmd.interactive) == (True, False)
    assert not second.cmd.stdin


WRONG = {
    "kind": ("Deployment", "only a Pod"),
    "apiVersion": ("v2", "only a Pod"),
    "metadata.name": ("", "metadata.name is missing"),
    "metadata.labels": ({"a": 5}, "metadata.labels.a must be a string"),
    "spec.containers": ([], "spec.containers is empty"),
    f"{MAIN}.ports": ([{"hostPort": 80}], "spec.containers[0].ports[0].containerPort is missing"),
    f"{MAIN}.image": ("", "spec.containers[0].image is missing"),
    f"{MAIN}.args": ([5], "spec.containers[0].args[0] must be a string"),
    f"{MAIN}.volumeMounts.0.name": ("lost", "there is no such volume"),
    f"{MAIN}.resources.limits.cpu": ("fast", "which is no quantity"),
    f"{MAIN}.resources.limits.memory": ("0", "must be positive"),
    f"{MAIN}.securityContext": ({"runAsNonRoot": True, "runAsUser": 0}, "runs as user 0"),
    "spec.volumes.0.hostPath.path": ("relative", "give an absolute path"),
    "spec.volumes.1.name": ("data", "its own name"),
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_named(path: str) -> None:
    value, words = WRONG[path]
    with pytest.raises(InvalidConfig) as caught:
        translate(changed(path, value))
    assert words in str(caught.value)


def test_capabilities_are_the_usual_ones_with_changes() -> None:
    wish = {"drop": ["KILL", "cap_chown"], "add": ["SYS_TIME"]}
    pod, _ = translate(changed(f"{MAIN}.securityContext.capabilities", wish))
    found = pod.containers[0].cmd.capabilities
    assert found is not None
    kept = set(capabilities.USUAL) - {"CAP_KILL", "CAP_CHOWN"}
    assert set(found.permitted) == kept | {"CAP_SYS_TIME"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), (2, 2), (0.5, "0.5"), ("1.5Gi", 3 * 2**29), ("2k", 2000), ("1e3", 1000),
     ("1E", 10**18)],
)  # fmt: skip
def test_quantities(text: object, value: object) -> None:
    assert kubernetes.quantity(text, "here") == Decimal(str(value))


@pytest.mark.parametrize("text", ["", "m", "-1", "1 Mi", "1KB", True, None, [], "9" * 40])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(InvalidConfig, match=r"here is .*no quantity"):
        kubernetes.quantity(text, "here")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=6,
)
_PATHS = st.sampled_from([*UNSUPPORTED, *WRONG])


@given(_PATHS, _VALUES)
def test_any_document_is_a_pod_or_an_error_of_ours(path: str, value: object) -> None:
    with contextlib.suppress(InvalidConfig):
        data, _ = kubernetes.pod_of_manifest(changed(path, value), base_memory=1)
        assert set(data) <= set(PodConfig.__struct_fields__)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "grow without measure"),
        ("a: &a [*a]", "alias to itself"),
        ("a: 1\na: 2", "given twice"),
        ("a: [", "line 1"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("- a", "must hold one YAML table"),
        ("", "must hold one YAML table"),
        ("a: 1\n---\nb: 2", "several documents (another begins at line 2)"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: 2020-99-99", "not valid YAML"),
        ("? {a: 1}\n: 2", "not valid YAML"),
    ],
)
def test_yaml_that_cannot_be_used_is_refused(text: str, words: str) -> None:
    with pytest.raises(FileProblem) as caught:
        yamltext.parse_yaml(text, source="x.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("x.yaml ")


def test_a_few_aliases_do_no_harm() -> None:
    text = "base: &base {a: 1}\nmore: {<<: *base, b: 2}"
    assert yamltext.parse_yaml(text, source="x")["more"] == {"a": 1, "b": 2}


@given(st.text(alphabet="ab: -[]{}&*!|>\n'\"#,?%@`", max_size=40))
def test_any_text_is_data_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(FileProblem):
        yamltext.parse_yaml(text, source="x.yaml")
