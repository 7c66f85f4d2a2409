// Makes a GLB of a model in any format that the service knows, in a worker of the page. It gets {url, like, beside}, and answers {glb}, or
// {} where the model cannot be shown. `like`, the size of a result along its axes, asks for a dropped model to compare with it: grey,
// without its materials. All that is fetched are the files of the set that the page names: `url`, and those of `beside`.

const LARGEST = 400e6; // bytes: more than a tab has memory for
const LONGEST_EDGE = 4096; // pixels of a texture
const CLAY = { pbrMetallicRoughness: { baseColorFactor: [0.72, 0.72, 0.73, 1], metallicFactor: 0, roughnessFactor: 0.85 }, doubleSided: true };

// ---- Files ----

let folder = ""; // of the model, as it is compared
const own = new Map(); // the set's files, by their whole paths and by their names alone

const compared = (path) => {
  try {
    return decodeURIComponent(path).toLowerCase();
  } catch {
    return path.toLowerCase(); // a name that is not UTF-8
  }
};

function know({ url, beside }) {
  folder = compared(url).replace(/[^/]*$/, "");
  for (const one of beside) own.set(compared(one).split("/").pop(), one);
  for (const one of beside) own.set(compared(one), one);
}

// Models name their files by paths of the machine where they were made: what counts is the name.
function addressOf(path) {
  const plain = path.trim().replaceAll("\\", "/").replace(/^(\.\/)+/, "").toLowerCase();
  return own.get(folder + plain) ?? own.get(plain.split("/").pop());
}

async function fetched(url) {
  const answer = await fetch(url);
  const bytes = Number(answer.headers.get("content-length"));
  if (!answer.ok || bytes > LARGEST) throw new Error(`${answer.status}, ${bytes} bytes`);
  return answer.arrayBuffer();
}

const textOf = (data) => new TextDecoder().decode(data);

// ---- Images: three's readers make them as a page does, by elements and addresses of blobs, and a worker has neither ----

const inside = new Map(); // images in a model, by what their readers take for an address
const reading = [];

URL.createObjectURL = (blob) => {
  const name = `blob:${inside.size}`;
  inside.set(name, blob);
  return name;
};

async function imageOf(name) {
  if (inside.has(name)) return inside.get(name);
  if (name.startsWith("data:")) return new Blob([Uint8Array.from(atob(name.slice(name.indexOf(",") + 1)), (one) => one.charCodeAt(0))]);
  const address = addressOf(name);
  if (!address) throw new Error("no file of this set");
  return new Blob([await fetched(address)]);
}

class Picture extends OffscreenCanvas {
  there = false;

  constructor() {
    super(1, 1);
  }

  set src(name) {
    reading.push(this.#read(name));
  }

  async #read(name) {
    const bitmap = await createImageBitmap(await imageOf(name), { colorSpaceConversion: "none" });
    const scale = Math.min(1, LONGEST_EDGE / Math.max(bitmap.width, bitmap.height));
    this.width = Math.max(1, Math.round(bitmap.width * scale));
    this.height = Math.max(1, Math.round(bitmap.height * scale));
    this.getContext("2d").drawImage(bitmap, 0, 0, this.width, this.height);
    bitmap.close();
    this.there = true;
    this.onload?.();
  }
}
self.Image = Picture;
self.window = self;

// ---- Readers: each gives three's scene of a file ----

let three;

function textureOf(name) {
  const texture = new three.Texture(new Picture());
  texture.image.src = name;
  texture.wrapS = texture.wrapT = three.RepeatWrapping;
  return texture;
}

const READERS = {
  async ".obj"(data, like) {
    const { OBJLoader } = await import("./vendor/three/loaders/OBJLoader.js");
    const model = new OBJLoader().parse(textOf(data));
    if (!like) paint(model, await materialsOf(model.materialLibraries));
    return standing(model, like);
  },

  async ".stl"(data, like) {
    const { STLLoader } = await import("./vendor/three/loaders/STLLoader.js");
    return standing(new three.Mesh(new STLLoader().parse(data), new three.MeshStandardMaterial({ roughness: 0.7 })), like);
  },

  async ".fbx"(data) {
    const { FBXLoader } = await import("./vendor/three/loaders/FBXLoader.js");
    const manager = new three.LoadingManager();
    manager.addHandler(/(?:)/, { setPath: () => {}, load: textureOf });
    const model = new FBXLoader(manager).parse(data, "");
    const upright = new three.Group().add(model);
    upright.applyMatrix4(axesOf(model.userData.settings ?? {}));
    return upright;
  },

  async ".usdz"(data) {
    const { USDLoader } = await import("./vendor/three/loaders/USDLoader.js");
    return new USDLoader().parse(data);
  },
};

// OBJ and STL do not say what way is up. A dropped model stands as the result does: as it is, or with its z axis up.
function standing(model, like) {
  if (!like) return model;
  const { x, y, z } = new three.Box3().setFromObject(model).getSize(new three.Vector3());
  const parts = (sizes) => sizes.map((size) => size / Math.hypot(...sizes));
  const apart = (sizes) => Math.hypot(...parts(sizes).map((part, axis) => part - parts(like)[axis]));
  if (apart([x, z, y]) + 0.05 < apart([x, y, z])) model.rotateX(-Math.PI / 2);
  return model;
}

// What is to the right, up and to the front in an FBX file, each by the number of an axis and a sign.
function axesOf(settings) {
  const rows = ["CoordAxis", "UpAxis", "FrontAxis"].map((name, usual) => {
    const sign = settings[`${name}Sign`]?.value < 0 ? -1 : 1;
    return [0, 1, 2].map((axis) => (axis === (settings[name]?.value ?? usual) ? sign : 0));
  });
  const matrix = new three.Matrix4().set(...rows[0], 0, ...rows[1], 0, ...rows[2], 0, 0, 0, 0, 1);
  return matrix.determinant() ? matrix : new three.Matrix4();
}

// ---- Materials: as glTF knows them ----

async function materialsOf(libraries) {
  const { MTLLoader } = await import("./vendor/three/loaders/MTLLoader.js");
  const found = new Map();
  for (const library of libraries) {
    const address = addressOf(library);
    const file = address && (await fetched(address).catch(() => null)); // it may be gone since
    if (!file) continue;
    const read = new MTLLoader().parse(textOf(file), "");
    for (const [name, lines] of Object.entries(read.materialsInfo)) found.set(name, ofLines(lines, (value) => textureIn(read, value)));
  }
  return found;
}

function textureIn(library, value) {
  const { url, scale, offset } = library.getTextureParams(value, {});
  const texture = textureOf(url);
  texture.repeat.copy(scale);
  texture.offset.copy(offset);
  return texture;
}

// The PBR lines of MTL are no part of its first standard, and three's reader makes no use of them.
function ofLines(lines, texture) {
  const number = (name, usual) => (Number.isFinite(Number.parseFloat(lines[name])) ? Number.parseFloat(lines[name]) : usual);
  const map = (...names) => names.filter((name) => lines[name]).map((name) => texture(lines[name]))[0] ?? null;
  const colour = (values) => new three.Color().setRGB(...values, three.SRGBColorSpace);
  const opacity = number("d", 1 - number("tr", 0));
  const base = { map: map("map_kd"), opacity: opacity > 0 ? opacity : 1, transparent: opacity > 0 && opacity < 1 };
  base.color = base.map ? new three.Color(1, 1, 1) : colour(lines.kd ?? [1, 1, 1]);
  if (number("illum", 2) === 0) return new three.MeshBasicMaterial(base);
  const bump = ["norm", "map_bump", "bump"].filter((name) => name === "norm" || /norm/i.test(lines[name] ?? "")); // others are heights
  return new three.MeshStandardMaterial({
    ...base,
    metalness: number("pm", lines.map_pm ? 1 : 0),
    roughness: number("pr", lines.map_pr ? 1 : 1 - Math.sqrt(Math.min(1, number("ns", 250) / 1000))), // as Blender counts it
    metalnessMap: map("map_pm"),
    roughnessMap: map("map_pr"),
    normalMap: map(...bump),
    emissive: lines.map_ke ? new three.Color(1, 1, 1) : colour(lines.ke ?? [0, 0, 0]),
    emissiveMap: map("map_ke"),
  });
}

// Phong's shine is no roughness: the one becomes the other as in Blender.
function ofPhong(material) {
  const { name, color, map, normalMap, aoMap, emissive, emissiveMap, emissiveIntensity, vertexColors } = material;
  const opacity = material.opacity > 0 ? material.opacity : 1;
  return new three.MeshStandardMaterial({
    name, map, normalMap, aoMap, emissiveMap, vertexColors, opacity,
    transparent: opacity < 1,
    color: map ? new three.Color(1, 1, 1) : color,
    emissive: emissive.clone().multiplyScalar(Math.min(1, emissiveIntensity)),
    roughness: 1 - Math.sqrt(Math.min(1, (material.shininess ?? 25) / 100)),
    metalness: 0,
  });
}

function paint(model, materials) {
  model.traverse((one) => {
    const changed = (material) => materials.get(material.name) ?? material;
    if (one.isMesh) one.material = Array.isArray(one.material) ? one.material.map(changed) : changed(one.material);
  });
}

// A picture that is not there, or is none, leaves the colour.
function finished(material, done) {
  if (done.has(material)) return done.get(material);
  const made = material.isMeshPhongMaterial || material.isMeshLambertMaterial ? ofPhong(material) : material;
  for (const [name, value] of Object.entries(made)) if (value?.isTexture && !value.image?.there) made[name] = null;
  made.side = three.DoubleSide;
  done.set(material, made);
  return made;
}

// ---- GLB ----

// Meshes alone: a scene's own lights and cameras would be the viewer's. Its size is one, and its middle the origin.
async function glbOf(model, like) {
  const { GLTFExporter } = await import("./vendor/three/exporters/GLTFExporter.js");
  const done = new Map();
  const plain = new three.MeshStandardMaterial();
  const others = [];
  model.traverse((one) => {
    one.userData = {};
    if (!one.isMesh) return one.isLight || one.isCamera || one.isLine || one.isPoints ? others.push(one) : null;
    if (like) for (const name of Object.keys(one.geometry.attributes)) if (!/^(position|normal|skin)/.test(name)) one.geometry.deleteAttribute(name);
    one.material = like ? plain : Array.isArray(one.material) ? one.material.map((each) => finished(each, done)) : finished(one.material, done);
    return null;
  });
  for (const one of others) one.removeFromParent();
  const scene = new three.Group().add(model);
  scene.updateMatrixWorld(true);
  const box = new three.Box3().setFromObject(scene);
  const scale = 1 / Math.max(...box.getSize(new three.Vector3()));
  if (!(scale > 0 && Number.isFinite(scale))) throw new Error("no surface");
  scene.scale.setScalar(scale);
  scene.position.copy(box.getCenter(new three.Vector3())).multiplyScalar(-scale);
  return new GLTFExporter().parseAsync(scene, { binary: true, maxTextureSize: LONGEST_EDGE });
}

const JSON_CHUNK = 0x4e4f534a;

// The geometry stays as it is packed; whatever is seen of it is grey.
function asClay(glb) {
  const view = new DataView(glb);
  const length = view.getUint32(12, true);
  if (view.getUint32(0, true) !== 0x46546c67 || view.getUint32(16, true) !== JSON_CHUNK) throw new Error("no GLB");
  const document = JSON.parse(textOf(new Uint8Array(glb, 20, length)));
  for (const { primitives } of document.meshes) {
    for (const primitive of primitives) {
      primitive.material = 0;
      delete primitive.extensions?.KHR_materials_variants;
      for (const attributes of [primitive.attributes, primitive.extensions?.KHR_draco_mesh_compression?.attributes]) delete attributes?.COLOR_0;
    }
  }
  document.materials = [CLAY];
  for (const name of ["textures", "images", "samplers"]) delete document[name];
  delete document.extensions?.KHR_materials_variants;
  for (const name of ["extensionsUsed", "extensionsRequired"]) {
    if (document[name]) document[name] = document[name].filter((one) => !/^(KHR_materials|KHR_texture|EXT_texture)_/.test(one));
    if (!document[name]?.length) delete document[name];
  }
  const text = new TextEncoder().encode(JSON.stringify(document));
  const padded = Math.ceil(text.length / 4) * 4;
  const made = new Uint8Array(20 + padded + glb.byteLength - 20 - length).fill(0x20, 20, 20 + padded);
  const head = new DataView(made.buffer);
  [0x46546c67, 2, made.length, padded, JSON_CHUNK].forEach((value, at) => head.setUint32(at * 4, value, true));
  made.set(text, 20);
  made.set(new Uint8Array(glb, 20 + length), 20 + padded);
  return made.buffer;
}

async function converted(data, ending, like) {
  three = await import("./vendor/three/three.core.min.js");
  const model = await READERS[ending](data, like);
  await Promise.allSettled(reading);
  return glbOf(model, like);
}

self.onmessage = async ({ data: wanted }) => {
  try {
    know(wanted);
    const data = await fetched(wanted.url);
    const ending = compared(wanted.url).match(/\.[^.]*$/)[0];
    let glb = ending === ".glb" ? data : await converted(data, ending, wanted.like);
    if (wanted.like) glb = asClay(glb);
    return self.postMessage({ glb }, [glb]);
  } catch (error) {
    console.info(error);
    return self.postMessage({});
  }
};
