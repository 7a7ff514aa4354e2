"""The functions and handles of the API, as its document has them (mock and noop)."""

from __future__ import annotations

import inspect

import pytest

from tests.engine.conftest import container, pod
from vctui import errors
from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.drivers.proxies.noop import NoopProxy
from vctui.drivers.shims.builtin import BuiltinShim
from vctui.drivers.shims.noop import NoopShim
from vctui.engine import api, registry
from vctui.engine.runtime import Runtime
from vctui.model.agent import AgentConfig
from vctui.model.checks import check_pod
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.kinds import ProcessListFormat
from vctui.model.pod import PodConfig
from vctui.model.proxy import ProxyConfig
from vctui.model.shim import ShimConfig
from vctui.model.state import State
from vctui.settings import Settings

POD_FUNCTIONS = (api.start_pod, api.stop_pod, api.pause_pod, api.resume_pod, api.delete_pod)
CONTAINER_FUNCTIONS = (api.start_container, api.stop_container, api.delete_container)


def state(status: object) -> State:
    return status.state  # type: ignore[attr-defined, no-any-return]


async def test_a_pod_goes_through_its_whole_life(runtime: Runtime):
    made = await api.create_pod(pod(), runtime=runtime)
    assert isinstance(made, api.VCPod)
    assert made.id == "web"
    assert state(await api.status_pod("web", runtime=runtime)) is State.READY
    for function, expected in (
        (api.start_pod, State.RUNNING),
        (api.pause_pod, State.PAUSED),
        (api.resume_pod, State.RUNNING),
        (api.stop_pod, State.STOPPED),
    ):
        assert (await function("web", runtime=runtime)).id == "web"
        assert state(await api.status_pod("web", runtime=runtime)) is expected
    assert (await api.delete_pod("web", runtime=runtime)).id == "web"
    assert await api.list_pod(runtime=runtime) == ()


async def test_run_is_create_and_start(runtime: Runtime):
    assert (await api.run_pod(pod(), runtime=runtime)).id == "web"
    assert [one.state for one in await api.list_pod(runtime=runtime)] == [State.RUNNING]


async def test_a_container_goes_through_its_whole_life(runtime: Runtime):
    await api.run_pod(pod(), runtime=runtime)
    of_pod, made = await api.create_container("web", container("more"), runtime=runtime)
    assert [one.id for one in of_pod.get_all_containers()] == ["main", "more"]
    assert made.id == "more"
    assert made.pod is of_pod
    for function, expected in (
        (api.start_container, State.RUNNING),
        (api.stop_container, State.STOPPED),
        (api.start_container, State.RUNNING),
    ):
        assert (await function("web", "more", runtime=runtime)).id == "more"
        assert state(await api.status_container("web", "more", runtime=runtime)) is expected
    await api.kill_container("web", "more", 15, False, runtime=runtime)
    await api.kill_container("web", "more", 9, True, runtime=runtime)
    await api.stop_container("web", "more", runtime=runtime)
    last = await api.delete_container("web", "more", runtime=runtime)
    assert last.id == "more"
    assert last.pod.get_container("more") is None


async def test_enter_returns_pod_container_and_process(runtime: Runtime):
    await api.run_pod(pod(), runtime=runtime)
    of_pod, entered, process = await api.enter_container(
        "web", "main", Cmd(args=("true",)), runtime=runtime
    )
    assert (of_pod.id, entered.id) == ("web", "main")
    assert process.token not in {"", entered.get_token()}


async def test_processes_are_listed_in_the_form_that_is_asked_for(runtime: Runtime):
    await api.run_pod(pod(), runtime=runtime)
    as_json = ProcessListOptions(format=ProcessListFormat.JSON)
    assert await api.process_list_container("web", "main", as_json, runtime=runtime) == b"[]"
    table = await api.process_list_container("web", "main", ProcessListOptions(), runtime=runtime)
    assert table.startswith(b"PID")


async def test_without_a_runtime_the_settings_give_one():
    made = await api.create_pod(pod("alone"))
    await made.set_annotations({"org.example.a": "1"})
    assert (await api.status_pod("alone")).annotations == {"org.example.a": "1"}
    assert [one.id for one in await api.list_pod()] == ["alone"]
    await api.delete_pod("alone")
    assert await api.list_pod() == ()


async def test_a_pods_annotations_can_be_read_and_merged(runtime: Runtime):
    made = await api.create_pod(pod(), runtime=runtime)
    assert made.get_annotations() == {}
    await made.set_annotations({"org.example.a": "1", "org.example.b": "2"})
    await made.set_annotations({"org.example.b": "3"})
    assert made.get_annotations() == {"org.example.a": "1", "org.example.b": "3"}
    assert made.annotations("org.example.b") == "3"
    with pytest.raises(errors.NotFound, match=r"no annotation 'org\.example\.c'"):
        made.annotations("org.example.c")
    status = await api.status_pod("web", runtime=runtime)
    assert status.annotations == made.get_annotations()


async def test_a_handles_annotations_are_a_copy(runtime: Runtime):
    made = await api.create_pod(pod(), runtime=runtime)
    made.get_annotations()["org.example.a"] = "1"
    assert made.get_annotations() == {}


@pytest.mark.parametrize("bad", [{"": "x"}, {"a": 1}, {"a": "\0"}, {3: "x"}])
async def test_annotations_that_cannot_be_kept_are_refused(runtime: Runtime, bad: dict[str, str]):
    made = await api.create_pod(pod(), runtime=runtime)
    with pytest.raises(errors.InvalidConfig, match="annotations"):
        await made.set_annotations(bad)
    assert (await api.status_pod("web", runtime=runtime)).annotations == {}
    assert made.get_annotations() == {}


async def test_the_annotations_of_a_deleted_pod_cannot_be_set(runtime: Runtime):
    made = await api.create_pod(pod(), runtime=runtime)
    await api.delete_pod("web", runtime=runtime)
    with pytest.raises(errors.NotFound):
        await made.set_annotations({"org.example.a": "1"})


async def test_containers_are_found_by_their_id(runtime: Runtime):
    made = await api.create_pod(pod("web", container("one"), container("two")), runtime=runtime)
    assert [one.id for one in made.get_all_containers()] == ["one", "two"]
    found = made.get_container("two")
    assert found
    assert found.pod is made
    assert made.get_container("three") is None


async def test_a_container_has_a_token_before_it_has_a_process(runtime: Runtime):
    made = (await api.create_pod(pod(), runtime=runtime)).get_container("main")
    assert made
    assert (made.get_token(), made.get_pid(), made.process) == ("main", 0, None)
    started = (await api.start_pod("web", runtime=runtime)).get_container("main")
    assert started
    assert started.process
    assert started.process.token == started.get_token() == made.get_token()
    assert started.process.pid == started.get_pid()
    status = await api.status_container("web", "main", runtime=runtime)
    assert started.process.start_time == status.start_time


async def test_a_process_id_that_is_set_is_what_everybody_is_told(runtime: Runtime):
    started = (await api.run_pod(pod(), runtime=runtime)).get_container("main")
    assert started
    await started.set_pid(4711)
    assert started.get_pid() == 4711
    assert started.process
    assert started.process.pid == 4711
    assert (await api.status_container("web", "main", runtime=runtime)).pid == 4711


@pytest.mark.parametrize("bad", [0, -1, 2**22 + 1])
async def test_what_is_no_process_cannot_be_set(runtime: Runtime, bad: int):
    started = (await api.run_pod(pod(), runtime=runtime)).get_container("main")
    assert started
    with pytest.raises(errors.InvalidConfig, match="not a process"):
        await started.set_pid(bad)
    assert (await api.status_container("web", "main", runtime=runtime)).pid == 0


async def test_a_container_that_was_never_started_has_no_process_to_set(runtime: Runtime):
    made = (await api.create_pod(pod(), runtime=runtime)).get_container("main")
    assert made
    with pytest.raises(errors.WrongState, match="never started"):
        await made.set_pid(4711)


async def test_container_annotations_are_those_of_its_configuration(runtime: Runtime):
    config = PodConfig(
        id="web",
        hypervisor_type="mock",
        agent_type="noop",
        containers=(
            {"id": "main", "rootfs": "busybox", "cmd": {"args": ["x"]}, "annotations": {"a": "b"}},
        ),
    )
    made = (await api.create_pod(config, runtime=runtime)).get_container("main")
    assert made
    assert made.get_annotations() == {"a": "b"}


@pytest.mark.parametrize("function", POD_FUNCTIONS, ids=lambda function: function.__name__)
async def test_a_pod_id_is_checked_first(runtime: Runtime, function):
    with pytest.raises(errors.InvalidId, match="pod id"):
        await function("../x", runtime=runtime)
    with pytest.raises(errors.NotFound, match="no pod 'nobody'"):
        await function("nobody", runtime=runtime)


@pytest.mark.parametrize("function", CONTAINER_FUNCTIONS, ids=lambda function: function.__name__)
async def test_then_the_container_id(runtime: Runtime, function):
    with pytest.raises(errors.InvalidId, match="pod id"):
        await function("", "", runtime=runtime)
    with pytest.raises(errors.InvalidId, match="container id"):
        await function("nobody", "", runtime=runtime)
    await api.create_pod(pod(), runtime=runtime)
    with pytest.raises(errors.NotFound, match="no container 'nobody'"):
        await function("web", "nobody", runtime=runtime)


async def test_a_read_only_runtime_refuses_changes_of_handles(runtime: Runtime, settings: Settings):
    await api.run_pod(pod(), runtime=runtime)
    async with Runtime(settings, read_only=True) as reader:
        held = api.VCPod(await api.status_pod("web", runtime=reader), reader)
        with pytest.raises(errors.ReadOnly):
            await held.set_annotations({"org.example.a": "1"})
        with pytest.raises(errors.ReadOnly):
            await held.get_all_containers()[0].set_pid(1)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("hypervisor_type", "xen", "hypervisor_type must be one of qemu, mock, not 'xen'"),
        ("agent_type", "KATA", "must be one of noop, hyperstart, kata"),
        ("agent_config", {"dbug": True}, r"agent_config.dbug is not a known key; did you mean"),
        ("proxy_config", "kata-proxy", "proxy_config must be a table"),
        ("containers", ["main"], r"containers\[0\] must be a table"),
        ("annotations", {"a": object()}, "the pod's configuration cannot be used"),
        ("nothing", None, ""),
    ],
)
async def test_a_structure_with_wrong_types_is_refused(runtime: Runtime, key, value, says):
    keys = {"id": "web", "hypervisor_type": "mock", "agent_type": "noop", key: value}
    if key == "nothing":
        keys.pop(key)
        await api.create_pod(PodConfig(**keys), runtime=runtime)
        return
    with pytest.raises(errors.InvalidConfig, match=says):
        await api.create_pod(PodConfig(**keys), runtime=runtime)
    assert await api.list_pod(runtime=runtime) == ()


@pytest.mark.parametrize(
    ("keys", "proxy", "shim"),
    [
        ({"agent_type": "noop"}, NoopProxy, NoopShim),
        ({"agent_type": "kata"}, BuiltinProxy, BuiltinShim),
        ({"agent_type": "kata", "shim_type": "noopShim"}, BuiltinProxy, NoopShim),
        ({"agent_type": "noop", "proxy_type": "noopProxy"}, NoopProxy, NoopShim),
        (
            {
                "agent_type": "kata",
                "proxy_type": "kataBuiltInProxy",
                "shim_type": "kataBuiltInShim",
            },
            BuiltinProxy,
            BuiltinShim,
        ),
    ],
)
def test_proxy_and_shim_are_those_that_the_pod_names(settings: Settings, keys, proxy, shim):
    config = check_pod(PodConfig(id="web", **keys))
    assert isinstance(registry.proxy(config, settings), proxy)
    assert isinstance(registry.shim(config), shim)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"proxy_type": "kataProxy", "proxy_config": {"path": "/nowhere/kata-proxy"}},
            "proxy_config.path '/nowhere/kata-proxy' is no program that can be run",
        ),
        (
            {"shim_type": "kataShim", "shim_config": {"path": "/etc/passwd"}},
            "shim_config.path '/etc/passwd' is no program that can be run",
        ),
    ],
)
async def test_programs_that_cannot_be_run_are_refused(runtime: Runtime, keys, says):
    with pytest.raises(errors.FileProblem, match=says):
        await api.create_pod(PodConfig(id="web", **keys), runtime=runtime)
    assert await api.list_pod(runtime=runtime) == ()


async def test_a_socket_with_too_long_a_path_for_a_program_is_refused(runtime: Runtime):
    long = "w" * 63
    keys = {"proxy_type": "kataProxy", "proxy_config": {"path": "/bin/true"}}
    with pytest.raises(errors.HostProblem, match="has too long a path for kataProxy"):
        await api.create_pod(PodConfig(id=long, **keys), runtime=runtime)


async def test_a_pods_status_names_its_agent_proxy_and_shim(runtime: Runtime):
    await api.create_pod(pod(), runtime=runtime)
    status = await api.status_pod("web", runtime=runtime)
    assert (status.agent, status.proxy, status.shim) == ("noop", "noopProxy", "noopShim")
    assert status.agent_config == AgentConfig()
    assert (status.proxy_config, status.shim_config) == (ProxyConfig(), ShimConfig())


def test_every_function_is_documented():
    for name, thing in vars(api).items():
        if not name.startswith("_") and getattr(thing, "__module__", "") == api.__name__:
            assert inspect.getdoc(thing), name
