"""Patients who do not exist, and every place where a caller can put what identifies one."""

import gzip
import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import nibabel
import numpy as np
import pydicom
from tests.unit.transports.dicom_world import maker, related
from tests.unit.transports.test_dicom_scp import send
from tritonclient.grpc import service_pb2, service_pb2_grpc

JSON = {"Content-Type": "application/json"}
HEART = "/v1/models/heart_disease"
VOLUME = "/v1/models/volume_segmentation"
MISBEHAVING = "/v1/models/misbehaving"
_VALUES = (63, 1, 1, 145, 233, 1, 2, 150, 0, 2.3, 3, 0, 6)
_FEATURES = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg"),
    *("thalach", "exang", "oldpeak", "slope", "ca", "thal"),
)
RECORD = dict(zip(_FEATURES, _VALUES, strict=True))
_LETTERS = "bcdfghjklmnpqrstvwxz"


@dataclass(frozen=True)
class Patient:
    """One patient; a number makes all that identifies them, and nobody else has any of it."""

    number: int

    @property
    def family(self) -> str:
        """Return the family name."""
        high, low = divmod(self.number, 400)
        return f"Zyl{_LETTERS[high % 20]}{_LETTERS[low // 20]}{_LETTERS[low % 20]}ova"

    @property
    def given(self) -> str:
        """Return the given name."""
        return self.family.replace("Zyl", "Qui").replace("ova", "rin")

    @property
    def name(self) -> str:
        """Return the name as DICOM writes it (PS3.5 §6.2, PN)."""
        return f"{self.family}^{self.given}"

    @property
    def mrn(self) -> str:
        """Return the patient id."""
        return f"MRN-{47110000 + self.number}"

    @property
    def accession(self) -> str:
        """Return the accession number."""
        return f"ACC{88120000 + self.number}"

    @property
    def birth(self) -> date:
        """Return the date of birth."""
        return date(1931, 3, 1) + timedelta(days=self.number)

    @property
    def phone(self) -> str:
        """Return the telephone number."""
        return f"0170{5550000 + self.number}"

    @property
    def study(self) -> str:
        """Return the Study Instance UID."""
        return f"{maker.ROOT}.{93550000 + self.number}"

    @property
    def email(self) -> str:
        """Return the e-mail address."""
        return f"{self.given}.{self.family}@example.org"

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Return what is searched for: each is a part of whatever else could be written of this patient."""
        birth = self.birth
        parts = (self.family, self.given, self.mrn.removeprefix("MRN-"), self.accession, self.phone, self.study)
        return (*parts, f"{birth:%Y%m%d}", f"{birth:%Y-%m-%d}", f"{birth:%d.%m.%Y}")

    @property
    def everything(self) -> str:
        """Return all of it as one text."""
        return " ".join((self.name, self.mrn, self.email, *self.identifiers))


@dataclass(frozen=True)
class Ward:
    """Where patients are brought.

    Attributes:
        http: a client that may do everything.
        grpc: host and port.
        dicom: port, 0 where there is none.
        told: what callers were answered where something was refused.
    """

    http: httpx.Client
    grpc: str
    dicom: int
    told: list[str]

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request and keep its problem."""
        answer = self.http.request(method, path, **options)
        if answer.is_error:
            self.told.append(f"{answer.headers!r} {answer.text}")
        return answer

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a request and keep its problem."""
        return self.ask("POST", path, **options)


Way = Callable[[Ward, Patient], object]


def nifti(patient: Patient) -> bytes:
    """Return a volume whose header and extension name the patient."""
    image = nibabel.Nifti1Image(np.ones((16, 16, 16), np.float32), np.eye(4))
    image.header["descrip"] = patient.name.encode()
    image.header["aux_file"] = patient.mrn.encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", patient.everything.encode()))
    return gzip.compress(image.to_bytes())


def series(patient: Patient, *, heights: tuple[int, ...] = tuple(range(8))) -> list[Any]:
    """Return a CT series with the patient in every place that DICOM has for one, and in private tags.

    SOP Instance UIDs are told to who sent them, where they are at fault: they say nothing of the patient here.
    """
    said = {
        "PatientName": patient.name,
        "PatientID": patient.mrn,
        "PatientBirthDate": f"{patient.birth:%Y%m%d}",
        "AccessionNumber": patient.accession,
        "StudyInstanceUID": patient.study,
        "OtherPatientNames": patient.name,
        "PatientTelephoneNumbers": patient.phone,
        "PatientComments": patient.everything,
        "StudyDescription": f"{patient.name} {patient.birth:%d.%m.%Y}"[:64],
        "SeriesDescription": f"Axial of {patient.name}",
        "StudyID": patient.accession,
        "ReferringPhysicianName": patient.name,
    }
    made = maker.series(heights, rows=8, columns=8, **said)
    for number, dataset in enumerate(made):
        dataset.SeriesInstanceUID = f"{patient.study}.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = (
            f"{maker.ROOT}.7.{patient.number}.{number}"
        )
        block = dataset.private_block(0x0011, patient.mrn, create=True)
        block.add_new(0x01, "LO", patient.everything[:64])
    return list(made)


def files(patient: Patient, **options: Any) -> list[bytes]:
    """Return the series as files."""
    return list(maker.files(series(patient, **options)))


def zipped(patient: Patient, **options: Any) -> bytes:
    """Return the series as an archive whose files' names and comments name the patient."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, data in enumerate(files(patient, **options)):
            member = zipfile.ZipInfo(f"{patient.name}/{patient.mrn}-{number}.dcm")
            member.comment = patient.everything.encode()
            archive.writestr(member, data)
    return buffer.getvalue()


def _dicom(patient: Patient) -> dict[str, str]:
    return {"Content-Type": "application/zip", "X-Patient": patient.mrn}


def _stow(patient: Patient) -> dict[str, str]:
    return {"Content-Type": 'multipart/related; type="application/dicom"; boundary=cut', "X-Patient": patient.mrn}


def _predict(**options: Any) -> Way:
    return lambda ward, patient: ward.post(
        f"{HEART}/predict", **{name: make(patient) for name, make in options.items()}
    )


def _raw(ward: Ward, patient: Patient) -> None:
    """Send what is no HTTP."""
    address = urlsplit(str(ward.http.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"{patient.name} /{patient.mrn} HTTP/9\r\n{patient.everything}\r\n\r\n".encode())
        ward.told.append(connection.recv(65536).decode(errors="replace"))


def _job(ward: Ward, patient: Patient) -> None:
    """Hand a job in that fails, with the patient wherever there is room, and ask for it."""
    failing = {"age": 103.0, "chol": 1, "thalach": 1}
    answer = ward.post(
        f"{MISBEHAVING}/jobs", json=failing, params={"patient": patient.name}, headers={"Referer": patient.mrn}
    )
    ward.ask("GET", answer.headers.get("location", "/v1/jobs/none") + f"?patient={patient.mrn}")
    image = (f"{patient.name}.nii.gz", nifti(patient), "application/gzip")
    ward.post(f"{VOLUME}/jobs", files={"image": image})


IN_JSON: dict[str, Way] = {
    "keys and values": _predict(json=lambda p: {p.name: p.mrn, "age": p.everything}),
    "query": _predict(json=lambda _: RECORD, params=lambda p: {"patient": p.name, p.mrn: p.everything}),
    "headers": _predict(
        json=lambda _: RECORD,
        headers=lambda p: {
            **dict.fromkeys(("User-Agent", "Referer", "X-Patient", "Cookie", "From", "baggage"), p.name),
            **dict.fromkeys(("X-Request-ID", "traceparent", "tracestate", "X-Forwarded-For"), p.mrn),
        },
    ),
    "media type": _predict(
        content=lambda p: p.everything.encode(), headers=lambda p: {"Content-Type": f"text/{p.family}"}
    ),
    "accept": _predict(json=lambda _: RECORD, headers=lambda p: {"Accept": f"text/{p.family}, */{p.mrn}"}),
    "coding": _predict(json=lambda _: RECORD, headers=lambda p: {"Content-Encoding": p.family}),
    "token": _predict(json=lambda _: RECORD, headers=lambda p: {"Authorization": f"Bearer {p.mrn}.{p.family}.x"}),
    "broken JSON": _predict(content=lambda p: f'{{"{p.name}": {p.everything}'.encode(), headers=lambda _: JSON),
    "JSON list": _predict(json=lambda p: [p.everything]),
    "numbers": _predict(json=lambda p: {**RECORD, "age": p.number + 47110000, "chol": f"{p.birth:%Y%m%d}"}),
    "model": lambda ward, p: ward.post(f"/v1/models/{p.name}/predict", json={}),
    "version": lambda ward, p: ward.post(f"{HEART}/versions/{p.mrn}/predict", json=RECORD),
    "V2": lambda ward, p: ward.post(
        "/v2/models/heart_disease/infer",
        json={
            "id": p.name,
            "parameters": {p.mrn: p.name},
            "inputs": [{"name": p.name, "datatype": p.family, "shape": [1], "data": [p.everything]}],
            "outputs": [{"name": p.mrn}],
        },
    ),
    "V2 text": lambda ward, p: ward.post("/v2/models/heart_disease/infer", content=p.everything.encode()),
    "V2 model": lambda ward, p: ward.ask("GET", f"/v2/models/{p.name}"),
    "path": lambda ward, p: ward.ask("GET", f"/{p.name}/{p.mrn}", params={"q": p.everything}),
    "method": lambda ward, p: ward.ask(p.family.upper(), f"{HEART}/predict", params={"q": p.everything}),
    "no HTTP": _raw,
}
ELSEWHERE: dict[str, Way] = {
    "form": lambda ward, p: ward.post(
        f"{VOLUME}/predict", files={p.name: (f"{p.name}.nii.gz", nifti(p), f"text/{p.family}")}
    ),
    "volume": lambda ward, p: ward.post(
        f"{VOLUME}/predict", files={"image": (f"{p.name}.nii.gz", nifti(p), "application/gzip")}
    ),
    "cut volume": lambda ward, p: ward.post(f"{VOLUME}/predict", content=nifti(p)[:-30]),
    "text for a volume": lambda ward, p: ward.post(f"{VOLUME}/predict", content=p.everything.encode()),
    "exception": lambda ward, p: ward.post(
        f"{MISBEHAVING}/predict", json={"age": 103.0, "chol": 1, "thalach": 1}, params={"patient": p.name}
    ),
    "job": _job,
    "job ids": lambda ward, p: [
        ward.ask(method, f"/v1/jobs/{p.mrn}{tail}")
        for method, tail in (("GET", ""), ("GET", "/result"), ("DELETE", ""), ("POST", "/redrive"), ("GET", "/events"))
    ],
    "truth": lambda ward, p: [
        ward.post(f"{HEART}/truth", json=body, params={"q": p.name})
        for body in (
            {"request_id": p.mrn, "truth": p.name},
            {"request_id": p.everything, "truth": "disease"},
            {"request_id": _answered(ward), "truth": p.name},
            {"request_id": _answered(ward), "truth": {p.family: 47110000 + p.number}},
            {"request_id": _answered(ward), "truth": {"disease": float(f"{p.birth:%Y%m%d}")}},
            {"request_id": _answered(ward), "truth": "disease", p.name: p.mrn},
            {p.family: p.everything},
        )
    ],
    "truth of a volume": lambda ward, p: [
        ward.post(f"{VOLUME}/truth", json={"request_id": _segmented(ward), "truth": {name: number}})
        for name in (p.family, "anterior", "posterior")
        for number in (47110000 + p.number, float(f"{p.birth:%Y%m%d}"))
    ],
    "truth of a stranger": lambda ward, p: ward.post(f"/v1/models/{p.name}/truth", content=p.everything.encode()),
    "accuracy": lambda ward, p: ward.ask("GET", f"/v1/models/{p.name}/accuracy", params={"q": p.everything}),
    "job list": lambda ward, p: ward.ask("GET", "/v1/jobs", params={"state": p.name, "limit": p.mrn}),
    "load": lambda ward, p: ward.post(f"/v2/repository/models/{p.name}/load", json={"parameters": {"version": p.mrn}}),
    "unload": lambda ward, p: ward.post(f"/v2/repository/models/{p.mrn}/unload", content=p.everything.encode()),
    "series": lambda ward, p: ward.post(f"{VOLUME}/predict", content=zipped(p), headers=_dicom(p)),
    "series to DICOM": lambda ward, p: ward.post(
        f"{VOLUME}/predict", content=zipped(p), headers={**_dicom(p), "Accept": "application/dicom"}
    ),
    "gap": lambda ward, p: ward.post(
        f"{VOLUME}/predict", content=zipped(p, heights=(*range(9), *range(10, 20))), headers=_dicom(p)
    ),
    "cut archive": lambda ward, p: ward.post(f"{VOLUME}/predict", content=zipped(p)[:-40], headers=_dicom(p)),
    "STOW": lambda ward, p: ward.post(
        "/dicomweb/models/volume_segmentation/studies", content=related(files(p)), headers=_stow(p)
    ),
    "cut STOW": lambda ward, p: ward.post(
        "/dicomweb/models/volume_segmentation/studies",
        content=related([files(p)[0][:-9], p.everything.encode()]),
        headers=_stow(p),
    ),
    "C-STORE": lambda ward, p: send(ward.dicom, [pydicom.dcmread(io.BytesIO(data)) for data in files(p)]),
    "C-STORE of a stranger": lambda ward, p: send(ward.dicom, series(p), calling=p.family.upper()),
    "C-STORE without a study": lambda ward, p: send(ward.dicom, [_without_study(p)]),
}


def _answered(ward: Ward) -> str:
    """Return the id of an answer that truth may be told of."""
    return str(ward.http.post(f"{HEART}/predict", json=RECORD).headers["x-request-id"])


def _segmented(ward: Ward) -> str:
    volume = gzip.compress(nibabel.Nifti1Image(np.ones((16, 16, 16), np.float32), np.eye(4)).to_bytes())
    answer = ward.http.post(f"{VOLUME}/predict", files={"image": ("v.nii.gz", volume, "application/gzip")})
    return str(answer.headers["x-request-id"])


def _without_study(patient: Patient) -> Any:
    dataset = pydicom.dcmread(io.BytesIO(files(patient)[0]))
    del dataset.StudyInstanceUID
    return dataset


def _over_grpc(ward: Ward, patient: Patient) -> None:
    token = ("authorization", str(ward.http.headers["authorization"]))
    metadata = (token, ("x-patient", patient.name), ("x-request-id", patient.mrn))
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name=patient.name, datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(patient.everything.encode())
    infer, load = service_pb2.ModelInferRequest, service_pb2.RepositoryModelLoadRequest
    with grpc.insecure_channel(ward.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [
            (stub.ModelInfer, infer(model_name="heart_disease", id=patient.name, inputs=[tensor]), metadata),
            (stub.ModelInfer, infer(model_name=patient.name, inputs=[tensor]), metadata),
            (stub.ModelInfer, infer(model_name=patient.name), (("authorization", f"Bearer {patient.mrn}"),)),
            (stub.RepositoryModelLoad, load(model_name=patient.name), metadata),
        ]
        for method, message, fields in calls:
            try:
                method(message, metadata=fields, timeout=60)
            except grpc.RpcError as error:
                ward.told.append(f"{error.details()} {error.trailing_metadata()}")


ELSEWHERE["gRPC"] = _over_grpc


def admitted(ward: Ward, ways: dict[str, Way], rounds: int) -> Iterator[tuple[str, Patient]]:
    """Bring another patient every way, some times over; yield way and patient."""
    number = 0
    for _ in range(rounds):
        for name, way in ways.items():
            number += 1
            patient = Patient(number)
            way(ward, patient)
            yield name, patient
