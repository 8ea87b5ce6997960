"""Operators for MONAI Deploy applications: the stages of the spine as parts of a graph. Needs the extra ``map``.

The SDK gives the graph, its conditions, and the command line with its environment (``Application.init_app_context``).
Its DICOM operators are left out: they drop unreadable and repeated files without a word, build a volume in the type of
its first slice, and ask nothing of its geometry (docs/decisions/0115).
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import bedside.monai_deploy.sdk  # noqa: F401 - before the SDK itself

# isort: split
from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Fragment, Operator, OperatorSpec

from bedside.errors import BedsideError
from bedside.monai_deploy.model import LocalModel, bundle_in, read_folder
from bedside.settings import Settings, load_settings

__all__ = ["BundleApplication", "BundleOperator", "InputOperator", "OutputOperator", "bundle_of", "main"]


class InputOperator(Operator):  # type: ignore[misc] # the SDK has no types
    """Emits what lies in the input folder on ``input``: a DICOM study, or one file of another kind."""

    def __init__(self, fragment: Fragment, *conditions: object, folder: str | Path, **arguments: object) -> None:
        self._folder = Path(folder)
        super().__init__(fragment, *conditions, **arguments)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.output("input")

    def compute(self, _received: object, emitted: object, _context: object) -> None:
        """Read the folder. Raises ConfigurationError, PayloadTooLarge."""
        emitted.emit(read_folder(self._folder, _settings().limits), "input")  # type: ignore[attr-defined]


class BundleOperator(Operator):  # type: ignore[misc]
    """Takes ``input``, emits on ``results`` what the service would answer: the bundle's own steps, DICOM for DICOM.

    The bundle runs in a confined process of its own that starts with the graph and ends with it.
    """

    def __init__(self, fragment: Fragment, *conditions: object, bundle: str | Path, **arguments: object) -> None:
        self._model = LocalModel(Path(bundle), _settings())
        self._open = ExitStack()
        super().__init__(fragment, *conditions, **arguments)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("input")
        spec.output("results")

    def start(self) -> None:
        """Load the bundle. Raises BundleError."""
        self._open.enter_context(self._model)

    def compute(self, received: object, emitted: object, _context: object) -> None:
        """Run the bundle. Raises RequestError, ModelFailure, DeadlineExceeded."""
        emitted.emit(self._model.answer(received.receive("input")), "results")  # type: ignore[attr-defined]

    def stop(self) -> None:
        """End the bundle's process."""
        self._open.close()


class OutputOperator(Operator):  # type: ignore[misc]
    """Takes ``results`` and writes them into the output folder."""

    def __init__(self, fragment: Fragment, *conditions: object, folder: str | Path, **arguments: object) -> None:
        self._folder = Path(folder)
        super().__init__(fragment, *conditions, **arguments)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("results")

    def compute(self, received: object, _emitted: object, _context: object) -> None:
        """Write the files."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for result in received.receive("results"):  # type: ignore[attr-defined]
            (self._folder / result.name).write_bytes(result.data)


def bundle_of(context: AppContext, beside: str | Path) -> Path:
    """Return the bundle that an application runs: the one named by ``--model`` or HOLOSCAN_MODEL_PATH, else its own.

    Args:
        context: what ``Application.init_app_context`` returned.
        beside: a file in the application's own folder, ``__file__``.

    Raises:
        ConfigurationError: there is none, or several.
    """
    return bundle_in(Path(context.model_path), Path(beside).resolve().parent)


def _settings() -> Settings:
    # What production asks beyond a developer's machine is about tokens, and nobody brings one here.
    return load_settings(env="development")


class BundleApplication(Application):  # type: ignore[misc]
    """Folder in, bundle, folder out: what `bedside map export` packs for a bundle that has no ``app.py``."""

    def compose(self) -> None:
        """Build the graph."""
        context = Application.init_app_context(self.argv)
        study = InputOperator(self, CountCondition(self, 1), folder=context.input_path, name="study")
        model = BundleOperator(self, bundle=bundle_of(context, sys.argv[0]), name="model")
        results = OutputOperator(self, folder=context.output_path, name="results")
        self.add_flow(study, model, {("input", "input")})
        self.add_flow(model, results, {("results", "results")})


def main(application: type[Application] = BundleApplication) -> None:
    """Run an application; an error of Bedside's is one sentence that says what to do, and status 1."""
    try:
        application().run()
    except BedsideError as error:
        where = f" ({error.field})" if error.field else ""
        sys.exit(f"Error: {error.detail}{where}")


if __name__ == "__main__":
    main()
