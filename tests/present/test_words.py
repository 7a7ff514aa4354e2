"""States, columns, details and errors in words."""

from datetime import timedelta

import msgspec
import pytest

from tests.fakes.fake_runtime import BORN, make_container, make_pod
from vctui.errors import VctuiError, WrongState
from vctui.model.device import DeviceInfo
from vctui.model.pod import PodStatus, Resources
from vctui.model.state import State
from vctui.present import columns, condition, details, problems

NOW = BORN + timedelta(minutes=7)


def test_each_state_has_its_own_symbol_word_and_colour() -> None:
    found = [condition.of_state(state) for state in State]
    assert len({it.symbol for it in found}) == len(State)
    assert [it.word for it in found] == [state.value for state in State]
    assert len({it.role for it in found}) == len(State)


def test_an_operation_is_shown_before_the_state() -> None:
    assert str(condition.of_pod(make_pod("web", State.READY, operation="start"))) == "◌ starting"


def test_a_stop_with_a_reason_is_a_problem() -> None:
    assert condition.of_pod(make_pod("web", State.STOPPED)).role == "state-stopped"
    died = condition.of_pod(make_pod("web", State.STOPPED, reason="QEMU died"))
    assert (died.symbol, died.word, died.role) == ("✗", "stopped", "state-failed")


@pytest.mark.parametrize(("code", "role"), [(0, "state-stopped"), (3, "state-failed")])
def test_a_container_that_failed_is_a_problem(code: int, role: str) -> None:
    container = make_container("web", "main", State.STOPPED, exit_code=code)
    assert condition.of_container(container).role == role


def test_columns_show_what_they_are_called_after() -> None:
    pod = make_pod("web", State.RUNNING, ["a", "b"])
    cells = {column.id: column.cell(pod, NOW).text for column in columns.PODS}
    assert cells == {
        "name": "web", "state": "● running", "containers": "2/2", "vcpus": "1",
        "memory": "256M", "accelerator": "tcg", "age": "7m",
    }  # fmt: skip


def test_the_least_important_columns_go_first() -> None:
    def shown(width: int) -> list[str]:
        return [column.id for column, _ in columns.layout(columns.PODS, width)]

    assert shown(26) == ["name", "state"]
    assert shown(33) == ["name", "state", "age"]
    assert shown(200) == [column.id for column in columns.PODS]


@pytest.mark.parametrize("width", [4, 20, 26, 40, 80, 200])
@pytest.mark.parametrize(
    "table", [columns.PODS, columns.CONTAINERS, columns.PROCESSES, columns.EVENTS]
)
def test_a_layout_never_exceeds_its_width(
    table: tuple[columns.Column[object], ...], width: int
) -> None:
    laid_out = columns.layout(table, width)
    used = sum(room for _, room in laid_out) + 2 * (len(laid_out) - 1)
    assert used <= width or all(room <= 4 for _, room in laid_out)


def test_details_tell_the_reason_and_leave_out_what_is_not_known() -> None:
    stopped = make_pod("web", State.STOPPED, reason="the machine \x1b[31mdied")
    sections = {section.title: section for section in details.pod(stopped, NOW)}
    fields = {field.label: field.value for field in sections["Pod"].fields}
    assert fields["reason"] == "the machine died"
    assert "started" not in fields


def test_details_explain_a_signal() -> None:
    container = make_container("web", "main", State.STOPPED, exit_code=137)
    fields = {field.label: field.value for field in details.container(container, NOW)[0].fields}
    assert fields["exit status"] == "137 (signal 9)"


def test_details_tell_what_a_machine_was_given() -> None:
    pod = make_pod("web", State.RUNNING)
    assert pod.machine is not None
    for boot, vcpus, memory in (
        ((1, 256), "1", "256 MiB"),
        ((0, 0), "1", "256 MiB"),  # the record of an older version
    ):
        machine = msgspec.structs.replace(pod.machine, boot_vcpus=boot[0], boot_memory=boot[1])
        assert _size(msgspec.structs.replace(pod, machine=machine)) == (vcpus, memory)
    machine = msgspec.structs.replace(machine, vcpus=2, boot_vcpus=1, memory=512, boot_memory=256)
    grown = msgspec.structs.replace(pod, machine=machine)
    assert _size(grown) == ("2, started with 1", "512 MiB, started with 256 MiB")
    off = msgspec.structs.replace(pod, machine=None, vm_config=Resources(vcpus=3))
    assert _size(off) == ("3", "default")


def _size(pod: PodStatus) -> tuple[str, str]:
    sections = {section.title: section for section in details.pod(pod, NOW)}
    fields = {field.label: field.value for field in sections["Machine"].fields}
    return fields["virtual CPUs"], fields["memory"]


def test_details_tell_the_devices_of_a_container() -> None:
    device = DeviceInfo(container_path="/", host_path="/dev/sdb", id="drive-1")
    container = msgspec.structs.replace(make_container("web", "main"), devices=(device,))
    fields = {field.label: field.value for field in details.container(container, NOW)[0].fields}
    assert fields["device"] == "/ is /dev/sdb of the host, plugged in as drive-1"


def test_annotations_stand_in_the_details() -> None:
    pod = msgspec.structs.replace(make_pod("web"), annotations={"owner": "ops"})
    assert details.pod(pod, NOW)[-1].fields[0].value == "ops"


def _all_errors(base: type[VctuiError]) -> list[type[VctuiError]]:
    return [base, *(found for sub in base.__subclasses__() for found in _all_errors(sub))]


def test_every_kind_of_error_has_a_title() -> None:
    for kind in {error.kind for error in _all_errors(VctuiError)} - {"error"}:
        assert kind in problems._TITLES


def test_an_expected_error_is_told_in_its_own_sentence() -> None:
    problem = problems.describe(WrongState("pod 'web' is stopped; start it first"))
    assert problem.sentence == "pod 'web' is stopped; start it first"
    assert problem.expected


def test_a_defect_is_told_as_one() -> None:
    problem = problems.describe(ZeroDivisionError("division by zero"))
    assert not problem.expected
    assert "ZeroDivisionError: division by zero" in problem.sentence
