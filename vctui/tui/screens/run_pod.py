"""Chooses a pod file to run: what is in it, or what is wrong with it, beside the list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from vctui.errors import VctuiError
from vctui.present.humanize import plain
from vctui.tui import workers
from vctui.tui.screens.dialog import Dialog

if TYPE_CHECKING:
    from vctui.model.pod import PodConfig
    from vctui.tui.gateway import Gateway

NO_FILES: Final = "There are no pod files in {folder}; type the path of one."


class RunPod(Dialog[tuple[Path, "PodConfig"]]):
    title_text = "Run a pod"
    hint = "Enter run   Tab type a path   Esc leave"

    def __init__(self, gateway: Gateway, pods_dir: Path, taken: frozenset[str]) -> None:
        super().__init__()
        self._gateway = gateway
        self._pods_dir = pods_dir
        self._taken = taken
        self._files: tuple[Path, ...] = ()

    def body(self) -> ComposeResult:
        with Horizontal(id="files"):
            yield OptionList(id="list")
            with VerticalScroll(id="preview", can_focus=False):
                yield Static(id="summary")
        yield Input(placeholder="path of a pod file (.toml, .json or .yaml)", compact=True)

    async def on_mount(self) -> None:
        self._files = await self._gateway.pod_files()
        options = self.query_one(OptionList)
        options.add_options(
            Option(
                Content.assemble(path.stem, ("" if self._own(path) else "  demo", "$muted")),
                id=str(number),
            )
            for number, path in enumerate(self._files)
        )
        if self._files:
            options.highlighted = 0
            options.focus()
        else:
            self._say(Content.styled(NO_FILES.format(folder=self._pods_dir), "$muted"))
            self.query_one(Input).focus()

    def _own(self, path: Path) -> bool:
        return path.parent == self._pods_dir

    def _say(self, text: Content) -> None:
        self.query_one("#summary", Static).update(text)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._preview(self._files[event.option_index])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._take(self._files[event.option_index])

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.value.strip():
            self._preview(_typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self._take(_typed(event.value))

    def _preview(self, path: Path) -> None:
        async def preview() -> None:
            await self._load(path)

        workers.start(self, preview(), group="preview")

    def _take(self, path: Path) -> None:
        async def take() -> None:
            if (config := await self._load(path)) is not None:
                self.dismiss((path, config))

        workers.start(self, take(), group="preview")

    async def _load(self, path: Path) -> PodConfig | None:
        try:
            config, warnings = await self._gateway.load_pod(path)
        except VctuiError as error:
            self._say(
                Content.assemble((f"{path}\n\n", "$muted"), (plain(str(error), 2000), "$error"))
            )
            return None
        self._say(_summary(path, config, warnings, taken=config.id in self._taken))
        return config


def _typed(text: str) -> Path:
    return Path(text.strip()).expanduser()


def _summary(path: Path, config: PodConfig, warnings: tuple[str, ...], *, taken: bool) -> Content:
    vm = config.vm_config
    lines = [
        Content.styled(f"{path}\n", "$muted"),
        Content.styled(config.id, "bold"),
        Content(f"{config.hypervisor_type} machine, agent {config.agent_type}"),
        Content(
            f"{vm.vcpus or 'default'} vCPU, {f'{vm.memory} MiB' if vm.memory else 'default memory'}"
        ),
    ]
    if taken:
        lines.append(Content.styled("\nA pod of this id is there already.", "$warning"))
    for container in config.containers:
        files = container.rootfs or container.image
        lines += [
            Content.assemble("\n", (container.id, "bold"), (f"  {files}", "$muted")),
            Content(plain(" ".join(container.cmd.args), 300)),
        ]
    lines += [
        Content.styled(f"\n{plain(warning.removeprefix(f'{path}: '), 300)}", "$warning")
        for warning in warnings
    ]
    return Content("\n").join(lines)
