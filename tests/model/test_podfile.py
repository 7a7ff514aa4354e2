"""Pod files: what they may say, and what is said about those that are wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import FileProblem, InvalidConfig, InvalidId, InvalidInput
from vctui.model.container import ContainerConfig, EnvVar
from vctui.model.kinds import AgentType, HypervisorType, MachineType
from vctui.model.pod import PodConfig
from vctui.model.podfile import Format, parse_container, parse_pod

HOME = PurePosixPath("/etc/pods")
SMALLEST = """
id = "web"
[[containers]]
id = "main"
rootfs = "busybox"
cmd = {args = ["sleep", "10"]}
"""


def pod(text: str, format_: Format = Format.TOML, **defaults: object) -> PodConfig:
    return parse_pod(text, format_, source="web.toml", base_dir=HOME, defaults=defaults)


def container(text: str) -> ContainerConfig:
    return parse_container(text, Format.TOML, source="main.toml", base_dir=HOME)


def test_only_the_id_rootfs_and_args_are_needed() -> None:
    config = pod(SMALLEST)
    assert config.id == "web"
    assert config.hypervisor_type is HypervisorType.QEMU
    assert config.containers[0].rootfs == "busybox"
    assert config.containers[0].cmd.args == ("sleep", "10")


def test_a_pod_may_have_no_containers_yet() -> None:
    assert pod('id = "web"').containers == ()


def test_defaults_fill_what_the_file_leaves_out_and_nothing_else() -> None:
    defaults = {
        "hypervisor_type": "mock",
        "agent_type": "noop",
        "hypervisor_config": {"hypervisor_machine_type": "pc"},
    }
    config = pod('id = "web"\nagent_type = "kata"\nhypervisor_config = {debug = true}', **defaults)
    assert config.hypervisor_type is HypervisorType.MOCK
    assert config.agent_type is AgentType.KATA
    assert config.hypervisor_config.debug
    assert config.hypervisor_config.hypervisor_machine_type is MachineType.PC


def test_envs_are_tables_or_assignments() -> None:
    config = pod(
        SMALLEST.replace(
            '["sleep", "10"]',
            '["env"], envs = ["A=1", {var = "B", value = "x=y"}, "C=", "D=p=q"]',
        )
    )
    assert config.containers[0].cmd.envs == (
        EnvVar("A", "1"),
        EnvVar("B", "x=y"),
        EnvVar("C", ""),
        EnvVar("D", "p=q"),
    )


def test_relative_paths_are_relative_to_the_files_folder() -> None:
    config = pod("""
        id = "web"
        [hypervisor_config]
        kernel_path = "images/vmlinux"
        hypervisor_path = "qemu-system-x86_64"
        [[containers]]
        id = "main"
        rootfs = "rootfs/alpine"
        cmd = {args = ["sh"]}
        mounts = [
            {source = "data", destination = "/data"},
            {source = "/srv", destination = "/srv", read_only = true},
            {type = "tmpfs", source = "tmpfs", destination = "/cache"},
        ]
    """)
    only = config.containers[0]
    assert only.rootfs == "/etc/pods/rootfs/alpine"
    assert [mount.source for mount in only.mounts] == ["/etc/pods/data", "/srv", "tmpfs"]
    assert config.hypervisor_config.kernel_path == "/etc/pods/images/vmlinux"
    assert config.hypervisor_config.hypervisor_path == "qemu-system-x86_64"


@pytest.mark.parametrize(
    ("hypervisor", "words"),
    [
        ('image_path = "i", initrd_path = "j"', "image_path.*initrd_path.*leave one"),
        ("mlock = true", "mlock.*realtime"),
        ('hypervisor_machine_type = "microvm", default_bridges = 1', "a microvm has no PCI"),
        ('hypervisor_machine_type = "microvm", machine_accelerators = "nvdimm"', "an nvdimm"),
        ("default_bridges = 6", "default_bridges is 6 but can be 5 at most"),
    ],
)
def test_a_machine_that_cannot_be_is_refused(hypervisor: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        pod(f'id = "web"\nhypervisor_config = {{{hypervisor}}}')


def test_json_says_the_same_as_toml() -> None:
    as_json = json.dumps(
        {
            "id": "web",
            "containers": [{"id": "main", "rootfs": "busybox", "cmd": {"args": ["sleep", "10"]}}],
        }
    )
    assert pod(as_json, Format.JSON) == pod(SMALLEST)


def test_a_container_file_has_the_containers_keys_at_its_top() -> None:
    config = container('id = "more"\nrootfs = "./r"\ncmd = {args = ["x"], envs = ["A=1"]}')
    assert config.rootfs == "/etc/pods/r"
    assert config.cmd.envs == (EnvVar("A", "1"),)


BAD = {
    'id = "w"': "'w' is not a legal pod id",
    "": "id is missing; it must be a string",
    "id = 3": "id must be a string, not 3",
    'id = "web"\nhostnam = "x"': "hostnam is not a known key; did you mean 'hostname'?",
    'id = "web"\nzzz = 1': "zzz is not a known key; known are id, hostname, vm_config,",
    'id = "web"\nhostname = "a_b"': "hostname 'a_b' is not a host name",
    'id = "web"\nhypervisor_type = "xen"': ("hypervisor_type must be one of qemu, mock, not 'xen'"),
    'id = "web"\nagent_type = true': "agent_type must be one of noop, hyperstart, kata, not true",
    'id = "web"\nvm_config = {memory = "1G"}': "vm_config.memory must be an integer, not '1G'",
    'id = "web"\nvm_config = {vcpus = -1}': "vm_config.vcpus is -1 but cannot be negative",
    'id = "web"\nvm_config = {vcpus = 4096}': "vm_config.vcpus is 4096 but can be 240 at most",
    'id = "web"\nvm_config = {memory = -256}': "vm_config.memory is -256 but cannot be negative",
    'id = "web"\nhypervisor_config = {default_mem_sz = -1}': (
        "hypervisor_config.default_mem_sz is -1 but cannot be negative"
    ),
    'id = "web"\nhypervisor_config = {kernel_params = [{kay = "x"}]}': (
        "hypervisor_config.kernel_params[0].kay is not a known key; did you mean 'key'?"
    ),
    'id = "web"\nannotations = {a = 1}': "annotations.a must be a string, not 1",
    'id = "web"\nannotations = {"a.b/c" = 1}': "annotations.'a.b/c' must be a string, not 1",
    'id = "web"\ncontainers = "main"': "containers must be a list of tables, not 'main'",
    'id = "web"\ncontainers = ["main"]': "containers[0] must be a table, not 'main'",
    SMALLEST.replace("args", "argz"): (
        "containers[0].cmd.argz is not a known key; did you mean 'args'?"
    ),
    SMALLEST.replace('["sleep", "10"]', '"sleep 10"'): (
        "containers[0].cmd.args must be a list of strings, not 'sleep 10'"
    ),
    SMALLEST.replace('["sleep", "10"]', '["sleep", 10]'): (
        "containers[0].cmd.args[1] must be a string, not 10"
    ),
    SMALLEST.replace('["sleep", "10"]', "[]"): "containers[0].cmd.args is empty",
    SMALLEST.replace('"sleep"', '""'): "containers[0].cmd.args is empty",
    SMALLEST.replace('"sleep"', '"sl\\u0000eep"'): (
        "containers[0].cmd.args[0] holds a NUL character"
    ),
    SMALLEST.replace('["sleep", "10"]', '["a"], envs = ["A"]'): (
        "containers[0].cmd.envs[0] must be \"NAME=value\" or {var, value}, not 'A'"
    ),
    SMALLEST.replace('["sleep", "10"]', '["a"], envs = [{var = "A=B"}]'): (
        "containers[0].cmd.envs[0].var 'A=B' is no name of a variable"
    ),
    SMALLEST.replace('["sleep", "10"]', '["a"], work_dir = "tmp"'): (
        "containers[0].cmd.work_dir 'tmp' is not absolute"
    ),
    SMALLEST.replace('["sleep", "10"]', '["a"], capabilities = {bounding = ["net"]}'): (
        "containers[0].cmd.capabilities.bounding[0] 'net' is no capability"
    ),
    SMALLEST.replace('"busybox"', '""'): "containers[0].rootfs is missing",
    SMALLEST.replace('rootfs = "busybox"', ""): "containers[0].rootfs is missing",
    SMALLEST.replace('"main"', '"../main"'): "'../main' is not a legal container id",
    SMALLEST + SMALLEST.partition("\n[[")[1] + SMALLEST.partition("\n[[")[2]: (
        "containers[1].id 'main' is taken by containers[0]"
    ),
    SMALLEST + 'mounts = [{destination = "/data"}]': "containers[0].mounts[0].source is empty",
    SMALLEST + 'mounts = [{destination = "/a", source = "x", host_path = "/y"}]': (
        "containers[0].mounts[0].host_path is reported"
    ),
    SMALLEST.replace("cmd = {", 'cmd = {console = "pts/3", '): (
        "containers[0].cmd.console 'pts/3' is not absolute"
    ),
    SMALLEST + 'mounts = [{destination = "/", source = "x"}]': (
        "containers[0].mounts[0].destination '/' is not an absolute path below '/'"
    ),
    SMALLEST + 'mounts = [{destination = "/a/../b", source = "x"}]': (
        "containers[0].mounts[0].destination '/a/../b' has '..'"
    ),
    SMALLEST + 'mounts = [{destination = "/a", source = "x", type = "nfs"}]': (
        "containers[0].mounts[0].type 'nfs' is not supported; use one of bind, volume, tmpfs"
    ),
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_mistake_is_named_with_the_file_and_the_path_of_its_key(text: str) -> None:
    with pytest.raises((InvalidConfig, InvalidId)) as caught:
        pod(text)
    assert str(caught.value).startswith(f"web.toml: {BAD[text]}")


def test_text_that_is_no_toml_names_the_line() -> None:
    with pytest.raises(FileProblem, match=r"web.toml is not valid TOML: .*at line 2, column 6"):
        pod('id = "web"\nid = = 1')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": "web",\n "x": }', r"not valid JSON: expecting value \(at line 2, column 7\)"),
        ("", "not valid JSON"),
        ("[]", "must hold one JSON object"),
        ('{"id": "web", "id": "bew"}', "the key 'id' is given twice"),
        ('{"a":' * 100_000, "cannot be read"),
    ],
)
def test_text_that_is_no_json_object_is_named(text: str, said: str) -> None:
    with pytest.raises(FileProblem, match=said):
        pod(text, Format.JSON)


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "containers", "cmd", "args", "envs", "mounts", "rootfs", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_no_document_gets_anything_but_a_pod_or_a_reported_problem(document: object) -> None:
    with contextlib.suppress(InvalidInput):
        assert isinstance(pod(json.dumps(document), Format.JSON), PodConfig)


@given(st.text(), st.sampled_from(Format))
def test_no_text_gets_anything_but_a_pod_or_a_reported_problem(text: str, format_: Format) -> None:
    with contextlib.suppress(InvalidInput):
        assert isinstance(pod(text, format_), PodConfig)


def test_paths_of_hooks_and_volumes_are_relative_to_the_file() -> None:
    config = pod("""
id = "web"
volumes = [{mount_tag = "site", host_path = "site"}]
[hooks]
pre_start = [{path = "bin/check", timeout = 5}]
post_stop = [{path = "/bin/true"}]
""")
    assert config.volumes[0].host_path == "/etc/pods/site"
    assert [one.path for one in config.hooks.pre_start] == ["/etc/pods/bin/check"]
    assert [one.path for one in config.hooks.post_stop] == ["/bin/true"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hooks = 1", "hooks must be a table, not 1"),
        ("hooks = {pre_start = 1}", "hooks.pre_start must be a list of tables, not 1"),
        ('hooks = {pre_start = ["x"]}', "hooks.pre_start[0] must be a table, not 'x'"),
        ("hooks = {prestart = []}", "hooks.prestart is not a known key; did you mean 'pre_start'?"),
        ("volumes = [1]", "volumes[0] must be a table, not 1"),
        ('volumes = [{mount_tag = "x"}]', "volumes[0].host_path is missing"),
    ],
)
def test_hooks_and_volumes_of_another_shape_are_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidConfig) as raised:
        pod('id = "web"\n' + text)
    assert says in str(raised.value)


ONE_PORT = "{ host_port = 1, container_port = 1 }"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("network_config = { num_interfaces = 1 }", "no effect while network_model is noop"),
        (
            'network_model = "CNM"\nnetwork_config = { interworking_model = "invalid" }',
            "interworking_model is invalid; use one of default, bridged, macvtap, enlightened, tc-",
        ),
        (
            'network_model = "CNM"\nnetwork_config = { num_interfaces = -1 }',
            "num_interfaces is -1 but can be 0, for all, to 8",
        ),
        (
            'network_model = "CNM"\nnetwork_config = { mac = "02:00:00:00:00:01" }',
            "network_config.mac is for plugins of CNI, but network_model is CNM",
        ),
        *(
            (f'network_model = "CNI"\nnetwork_config = {{ {keys} }}', words)
            for keys, words in (
                ("port_mappings = [{ host_port = 80 }]", "container_port is missing"),
                (
                    "port_mappings = [{ host_port = 0, container_port = 80 }]",
                    "port_mappings[0].host_port is 0 but can be 1 to 65535",
                ),
                (
                    'port_mappings = [{ host_port = 1, container_port = 1, host_ip = "here" }]',
                    "port_mappings[0].host_ip 'here' is no address of the host",
                ),
                (
                    f"port_mappings = [{ONE_PORT}, {ONE_PORT[:-2]}, host_ip = '::1' }}]",
                    "port_mappings[1] takes the host's port 1/tcp, as port_mappings[0] does",
                ),
                ('ips = ["10.0.0.300"]', "ips has '10.0.0.300', which is no address"),
                ('mac = "01:00:00:00:00:01"', "no hardware address of one interface"),
                ("bandwidth = { egress_burst = 8 }", "no effect without egress_rate"),
                ("bandwidth = { ingress_rate = -1 }", "cannot be negative"),
            )
        ),
        (
            'network_model = "CNI"\nnetwork_config = { networks = [""] }',
            "networks must be at most 8 names",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(text: str, words: str):
    with pytest.raises(InvalidConfig) as refused:
        pod(f'id = "web"\n{text}')
    assert words in str(refused.value)


def test_a_namespace_is_found_beside_the_file():
    made = pod('id = "web"\nnetwork_model = "CNM"\nnetwork_config = { net_ns_path = "ns" }')
    assert made.network_config.net_ns_path == str(HOME / "ns")
