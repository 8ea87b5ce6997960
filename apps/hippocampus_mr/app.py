"""The hippocampus bundle as a MONAI Deploy application: python app.py -i study/ -o out/ (docs/monai-deploy.md).

A graph of three operators. They are Bedside's, not the SDK's, so that the Segmentation is the service's, bit for bit,
and a series without an exact volume is refused here, too. The service itself never imports this file.
"""

# First: it loads what Holoscan wants also where there is no GPU.
from bedside.monai_deploy.operators import BundleOperator, InputOperator, OutputOperator, bundle_of, main
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application


class HippocampusApplication(Application):
    """DICOM series in, Segmentation and Structured Report out."""

    def compose(self) -> None:
        """Build the graph; paths come from the command line, else from HOLOSCAN_INPUT_PATH and its like."""
        context = Application.init_app_context(self.argv)
        study = InputOperator(self, CountCondition(self, 1), folder=context.input_path, name="study")
        bundle = BundleOperator(self, bundle=bundle_of(context, __file__), name="hippocampus")
        results = OutputOperator(self, folder=context.output_path, name="results")
        self.add_flow(study, bundle, {("input", "input")})
        self.add_flow(bundle, results, {("results", "results")})


if __name__ == "__main__":
    main(HippocampusApplication)
