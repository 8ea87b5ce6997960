"""A hospital's series in, an archive's objects out: the real thing, on the wire and on the command line."""

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.acceptance.conftest import Served
from tests.assets.dicom import make_series
from typer.testing import CliRunner

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.cli import app
from bedside.codecs.dicom import read_radiograph, read_series
from bedside.settings import LimitSettings

pydicom = pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")
highdicom = pytest.importorskip("highdicom", reason="pip install 'bedside[dicom]'")

STUDIES = ("study1_hippocampus_crop", "study2_hippocampus_crop")
RELATED = 'multipart/related; type="application/dicom"'


@pytest.fixture(scope="module")
def studies(bedside_data: Path) -> Path:
    """Return the folder with the public MR series."""
    return bedside_data / "hippocampus_mr" / "dicom"


def zipped(folder: Path) -> bytes:
    """Return the files of a folder as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    return buffer.getvalue()


def predict(client: httpx.Client, body: bytes, accept: str) -> httpx.Response:
    """Send a zip archive to the hippocampus model."""
    headers = {"Content-Type": "application/zip", "Accept": accept}
    return client.post("/v1/models/hippocampus_mr/predict", content=body, headers=headers)


def names_in(folder: Path) -> set[str]:
    """Return what identifies the patient of a series."""
    dataset = pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True)
    names = {str(dataset.PatientID), str(dataset.AccessionNumber), str(dataset.StudyInstanceUID)}
    return names | set(str(dataset.PatientName).split("^"))


@pytest.mark.parametrize("study", STUDIES)
def test_segmentation_lies_on_the_source(client: httpx.Client, studies: Path, study: str) -> None:
    """The segments are the voxels of the NIfTI answer, slice by slice, and the volumes those of the JSON answer."""
    body = zipped(studies / study)
    answer = predict(client, body, "application/dicom")
    assert answer.status_code == 200, answer.text
    segmentation = highdicom.seg.segread(io.BytesIO(answer.content))
    summary = predict(client, body, "application/json").json()["outputs"]["pred"]["labels"]
    slices = sorted((pydicom.dcmread(path) for path in (studies / study).iterdir()), key=_height)
    pixels = segmentation.get_pixels_by_source_instance(
        [dataset.SOPInstanceUID for dataset in slices], combine_segments=True, ignore_spatial_locations=True
    )
    counted = {label["name"]: label["voxels"] for label in summary}
    assert counted == {"anterior": int((pixels == 1).sum()), "posterior": int((pixels == 2).sum())}
    assert min(counted.values()) > 0
    assert segmentation.FrameOfReferenceUID == slices[0].FrameOfReferenceUID


def _height(dataset: Any) -> float:
    return float(dataset.ImagePositionPatient[2])


def test_the_volume_is_that_of_the_same_series_as_nifti(client: httpx.Client, studies: Path) -> None:
    """DICOM in and NIfTI in give the same mask, byte for byte."""
    folder = studies / STUDIES[0]
    image, _ = read_series([path.read_bytes for path in folder.iterdir()], DicomPolicy(), LimitSettings())
    dicom = predict(client, zipped(folder), "application/gzip")
    nifti = client.post(
        "/v1/models/hippocampus_mr/predict", content=image.payload, headers={"Content-Type": "application/x-nifti"}
    )
    assert dicom.status_code == nifti.status_code == 200
    assert dicom.content == nifti.content


def test_command_line_takes_a_folder(served: Served, studies: Path, tmp_path: Path) -> None:
    """Segmentation and report are saved, named after the folder."""
    arguments = ["predict", "hippocampus_mr", str(studies / STUDIES[0]), "-o", str(tmp_path), "--url", served.url]
    result = CliRunner(env={"NO_COLOR": "1", "BEDSIDE_TOKEN": served.token()}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    classes = [pydicom.dcmread(path).SOPClassUID.keyword for path in sorted(tmp_path.iterdir())]
    assert sorted(classes) == ["Comprehensive3DSRStorage", "SegmentationStorage"]


def test_command_line_takes_an_archive_and_an_accept(served: Served, studies: Path, tmp_path: Path) -> None:
    """With ``--accept`` the answer is another, here the one with volumes for the terminal."""
    study = tmp_path / "study.zip"
    study.write_bytes(zipped(studies / STUDIES[1]))
    arguments = ["predict", "hippocampus_mr", str(study), "-o", str(tmp_path / "out"), "--url", served.url]
    result = CliRunner(env={"NO_COLOR": "1", "BEDSIDE_TOKEN": served.token()}).invoke(
        app, [*arguments, "--accept", "multipart/mixed"]
    )
    assert result.exit_code == 0, result.output
    assert "anterior" in result.output
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".gz", ".json", ".png"}


def test_a_form_takes_an_archive(client: httpx.Client, studies: Path) -> None:
    """Beside other inputs, a series is one part."""
    files = {"image": ("x.zip", zipped(studies / STUDIES[0]), "application/zip")}
    answer = client.post("/v1/models/hippocampus_mr/predict", files=files, headers={"Accept": RELATED})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(RELATED)
    assert answer.content.count(b"Content-Type: application/dicom") == 2


def test_a_whole_head_is_refused(client: httpx.Client, studies: Path) -> None:
    """The wrong series of the right modality: the bundle's bounds say so."""
    answer = predict(client, zipped(studies / "study1_t1_post"), "application/dicom")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:bedside:problem:wrong-shape")


def test_dicom_answers_belong_to_dicom_inputs(client: httpx.Client, studies: Path) -> None:
    """A NIfTI file has no study that a segmentation could belong to."""
    mask = predict(client, zipped(studies / STUDIES[0]), "application/gzip").content
    headers = {"Content-Type": "application/gzip", "Accept": "application/dicom"}
    answer = client.post("/v1/models/hippocampus_mr/predict", content=mask, headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (406, "Accept")


@pytest.fixture(scope="module")
def synthetic() -> Any:
    """Return the maker of series, and a series of the size that the hippocampus model takes."""
    return make_series


def made(synthetic: Any, heights: Any = range(20)) -> list[bytes]:
    """Return the files of a made-up MR series of 20 to 30 mm along each axis."""
    nothing = {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}
    changes = {"SOPClassUID": synthetic.MR, "Modality": "MR", **nothing}
    files: list[bytes] = synthetic.files(synthetic.series(heights, rows=48, columns=40, **changes))
    return files


def related(client: httpx.Client, files: list[bytes], accept: str) -> httpx.Response:
    """Send files as multipart/related, as STOW-RS does."""
    body = b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    headers = {"Content-Type": f"{RELATED}; boundary=cut", "Accept": accept}
    return client.post("/v1/models/hippocampus_mr/predict", content=body + b"--cut--\r\n", headers=headers)


def test_multipart_related_in_and_out(client: httpx.Client, synthetic: Any) -> None:
    """The same call twice gives objects with the same UIDs, in the patient's study."""
    answers = [related(client, made(synthetic), "application/dicom") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    first, second = (pydicom.dcmread(io.BytesIO(answer.content)) for answer in answers)
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert (first.StudyInstanceUID, first.PatientID) == (synthetic.STUDY, synthetic.PATIENT_ID)


def test_a_refusal_names_reason_and_instances(served: Served, client: httpx.Client, synthetic: Any) -> None:
    """A machine can act on it; neither log nor answer holds anything of the patient, and the log no UID."""
    answer = related(client, made(synthetic, (*range(9), *range(10, 20))), "application/dicom")
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "urn:bedside:problem:missing-slice")
    assert (problem["reason"], problem["field"]) == ("missing-slice", "image")
    assert set(problem["instances"]) == {f"{synthetic.SERIES}.9", f"{synthetic.SERIES}.10"}
    log = served.log.read_text()
    assert not [secret for secret in synthetic.SECRETS if secret in answer.text + log]
    assert synthetic.ROOT not in log


def test_another_modality_is_refused_by_the_metadata(client: httpx.Client, synthetic: Any) -> None:
    """The bundle's metadata says MR; nothing had to be configured."""
    answer = related(client, synthetic.files(synthetic.series()), "application/dicom")
    assert answer.json()["reason"] == "wrong-modality"


def _defective(studies: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in (studies / STUDIES[0]).iterdir():
            if path.name != "9.dcm":
                archive.write(path, path.name)
    return buffer.getvalue()


def test_patients_stay_out_of_every_sink(served: Served, client: httpx.Client, studies: Path) -> None:
    """Names, patient ids, accession numbers and study UIDs reach neither log nor metrics nor a problem."""
    earlier = served.log.read_text().count("inference_completed")
    for study in STUDIES:
        body = zipped(studies / study)
        accepts = ("application/dicom", RELATED, "application/json")
        assert [predict(client, body, accept).status_code for accept in accepts] == [200] * 3
    refused = predict(client, _defective(studies), "application/dicom")
    cut = predict(client, zipped(studies / STUDIES[0])[:-50], "application/dicom")
    metrics, log = client.get("/metrics").text, served.log.read_text()
    assert refused.json()["reason"] == "missing-slice"
    assert len(refused.json()["instances"]) == 2
    assert log.count("inference_completed") >= earlier + 6
    # The instances at fault are for the caller alone.
    assert not [uid for uid in refused.json()["instances"] if uid in log + metrics]
    for study in STUDIES:
        for name in names_in(studies / study):
            for text in (log, metrics, refused.text, cut.text):
                assert name.lower() not in text.lower()


def chest(synthetic: Any, **attributes: Any) -> bytes:
    """Return a made-up radiograph as a file."""
    pixels = np.random.default_rng(4).integers(0, 4096, (64, 80), np.uint16)
    radiograph = synthetic.radiograph(pixels, BitsStored=12, HighBit=11, **attributes)
    data: bytes = synthetic.written(radiograph)
    return data


def classified(client: httpx.Client, body: bytes, media_type: str, accept: str = "application/json") -> httpx.Response:
    """Send a picture to the classifier of radiographs."""
    headers = {"Content-Type": media_type, "Accept": accept}
    return client.post("/v1/models/chest_xray_pneumonia/predict", content=body, headers=headers)


def test_a_radiograph_is_classified_as_its_picture(client: httpx.Client, synthetic: Any) -> None:
    """DICOM in and the PNG that a viewer shows give the same answer; an inverted one stored so, too."""
    image, _ = read_radiograph([chest(synthetic)], DicomPolicy(), LimitSettings())
    told = [classified(client, chest(synthetic), "application/dicom"), classified(client, image.payload, "image/png")]
    assert [answer.status_code for answer in told] == [200, 200], told[0].text
    assert told[0].json()["probabilities"] == told[1].json()["probabilities"]


def test_a_report_with_the_probability_comes_back(client: httpx.Client, synthetic: Any) -> None:
    """In the patient's study, coded as the bundle's bedside.toml says."""
    answer = classified(client, chest(synthetic), "application/dicom", "application/dicom")
    assert answer.status_code == 200, answer.text
    report = pydicom.dcmread(io.BytesIO(answer.content))
    assert (report.Modality, report.StudyInstanceUID) == ("SR", synthetic.STUDY)
    told = classified(client, chest(synthetic), "application/dicom").json()
    text = report.to_json()
    assert "233604007" in text
    assert str(round(told["probabilities"]["pneumonia"], 6)) in text


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"BodyPartExamined": "KNEE"}, "wrong-body-part"),
        ({"ViewPosition": "LL"}, "no-matching-series"),
        ({"Modality": "MG"}, "wrong-modality"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not-monochrome"),
    ],
)
def test_other_pictures_are_refused(
    client: httpx.Client, synthetic: Any, attributes: dict[str, Any], reason: str
) -> None:
    """Each with its reason; what the bundle's bedside.toml says binds."""
    answer = classified(client, chest(synthetic, **attributes), "application/dicom")
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
