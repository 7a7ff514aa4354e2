"""`vctui image …`"""

from __future__ import annotations

from tests.images.archives import Image, docker_files, file, layer, write_tar


def test_an_images_life(cli, tmp_path) -> None:
    image = Image((layer(file("bin/app", "#!")),), {"Cmd": ["/bin/app"]})
    path = write_tar(tmp_path / "a.tar", docker_files(image, "shop:1"))
    assert cli("image", "list").err.startswith("no images; import one with")
    assert cli("image", "import", str(path)).out == "shop:1\n"
    assert cli("image", "import", str(path), "--name", "other").out == "other:latest\n"
    listed = cli("image", "list")
    assert [line.split()[0] for line in listed.lines] == ["NAME", "other:latest", "shop:1"]
    document = cli("image", "list", "--json").document
    assert document[1]["defaults"]["cmd"] == ["/bin/app"]
    (tmp_path / "pod.toml").write_text(
        'id = "web"\n[[containers]]\nid = "main"\nimage = "shop:1"\n'
    )
    assert cli("pod", "create", str(tmp_path / "pod.toml")).status == 0
    assert "shop:1" in cli("container", "status", "web", "main").out
    used = cli("image", "remove", "shop:1")
    assert used.status == 1
    assert "used by container 'main' of pod 'web'" in used.err
    assert cli("image", "remove", "other").out == "other:latest removed\n"


def test_a_file_that_is_no_image_is_said(cli, tmp_path) -> None:
    (tmp_path / "a.tar").write_text("nothing")
    result = cli("image", "import", str(tmp_path / "a.tar"))
    assert (result.status, result.out) == (1, "")
    assert "is no tar archive of an image" in result.err
    assert cli("image", "import", str(tmp_path / "b.tar")).status == 1
