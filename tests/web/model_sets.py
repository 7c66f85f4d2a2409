"""Delivered sets with models in each format, as a service has left them: a journal, an archive and an outbox."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping

from cli_stage import SAMPLES, Stage, a_job
from PIL import Image

from rodin_watchd.emulator.mesh_io import model_files, png_bytes, read_model
from rodin_watchd.emulator.texture import TexturedMesh, project
from rodin_watchd.model import InputFile, ResultFile, Role, Signature

COLOURS = ((220, 30, 30), (30, 170, 40), (30, 60, 220), (230, 190, 20))


def painted(sample: str = "suzi.glb") -> TexturedMesh:
    """Return a model of the samples with four colours on it: red is up and left, as seen from the front."""
    image = Image.new("RGB", (2, 2))
    image.putdata(COLOURS)
    return project(read_model((SAMPLES / sample).read_bytes()), image.resize((64, 64), Image.Resampling.NEAREST), "PBR")


def results_in(ending: str, mesh: TexturedMesh) -> dict[str, bytes]:
    """Return the files of a result in a format, as the vendor names them."""
    if ending == ".fbx":
        return {"base_basic_pbr.fbx": fbx(mesh)}
    return {file.name: file.data for file in model_files(mesh, ending[1:])}


def fbx(mesh: TexturedMesh, texture: str = "inside.png", *, z_up: bool = False, embedded: bool = True) -> bytes:
    """Return a model as FBX in text, with its texture in it or beside it, and its z axis up if that is wanted."""
    points = mesh.positions[:, [0, 2, 1]] * (1, -1, 1) if z_up else mesh.positions

    def numbers(values: object) -> str:
        return f"a: {','.join(format(value, '.7g') for value in values.ravel().tolist())}"  # type: ignore[attr-defined]

    corners = ",".join(str(~i if i % 3 == 2 else i) for i in range(len(points)))
    content = f'Content: ,\n"{base64.b64encode(png_bytes(mesh.image)).decode()}",' if embedded else ""
    up, front, sign = (2, 1, -1) if z_up else (1, 2, 1)
    return f"""; FBX 7.4.0 project file
FBXHeaderExtension:  {{
	FBXHeaderVersion: 1003
	FBXVersion: 7400
}}
GlobalSettings:  {{
	Version: 1000
	Properties70:  {{
		P: "UpAxis", "int", "Integer", "",{up}
		P: "UpAxisSign", "int", "Integer", "",1
		P: "FrontAxis", "int", "Integer", "",{front}
		P: "FrontAxisSign", "int", "Integer", "",{sign}
		P: "CoordAxis", "int", "Integer", "",0
		P: "CoordAxisSign", "int", "Integer", "",1
		P: "UnitScaleFactor", "double", "Number", "",100
	}}
}}
Objects:  {{
	Geometry: 1001, "Geometry::ball", "Mesh" {{
		Vertices: *{points.size} {{
			{numbers(points)}
		}}
		PolygonVertexIndex: *{len(points)} {{
			a: {corners}
		}}
		GeometryVersion: 124
		LayerElementUV: 0 {{
			Version: 101
			Name: "UVMap"
			MappingInformationType: "ByPolygonVertex"
			ReferenceInformationType: "Direct"
			UV: *{mesh.uvs_upwards.size} {{
				{numbers(mesh.uvs_upwards)}
			}}
		}}
	}}
	Model: 1002, "Model::ball", "Mesh" {{
		Version: 232
	}}
	Material: 1003, "Material::paint", "" {{
		Version: 102
		ShadingModel: "phong"
	}}
	Texture: 1004, "Texture::paint", "" {{
		Type: "TextureVideoClip"
		FileName: "{texture}"
		RelativeFilename: "{texture}"
	}}
	Video: 1005, "Video::paint", "Clip" {{
		Type: "Clip"
		Filename: "{texture}"
		RelativeFilename: "{texture}"
		{content}
	}}
}}
Connections:  {{
	C: "OO",1002,0
	C: "OO",1001,1002
	C: "OO",1003,1002
	C: "OP",1004,1003, "DiffuseColor"
	C: "OO",1005,1004
}}
""".encode()


def delivered(stage: Stage, name: str, dropped: tuple[str, bytes], results: Mapping[str, bytes]) -> str:
    """Put a delivered set into a stage; return the path of its page."""
    number = hashlib.sha256(name.encode()).hexdigest()[:12]
    preview = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 90, 96)).save(preview, "WEBP")
    made = {**results, "preview.webp": preview.getvalue()}
    given = {f"{name}{dropped[0]}": dropped[1], f"{name}.png": (SAMPLES / "matcap-a.png").read_bytes()}
    for folder, files in ((f"outbox/{name}", made), (f"archive/{name}", given)):
        for file, data in {**files, "job.toml": f'[job]\nid = "{number}"\nretries = 0\n'.encode()}.items():
            path = stage.root / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    signature = Signature(4, 1_700_000_000_000_000_000, 12)
    roles = zip((Role.MODEL, Role.IMAGE), given.items(), strict=True)
    job = a_job(
        id=number,
        name=name,
        folder="",
        fingerprint=number.ljust(64, "0"),
        files=tuple(
            InputFile(role, f"inbox/{file}", signature, sha256=hashlib.sha256(data).hexdigest())
            for role, (file, data) in roles
        ),
        results=tuple(
            ResultFile(file, file, len(data), hashlib.sha256(data).hexdigest()) for file, data in made.items()
        ),
        place=f"outbox/{name}",
    )
    stage.journaled(job)
    return f"/sets/{number}"
