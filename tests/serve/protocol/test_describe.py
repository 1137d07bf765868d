from __future__ import annotations

import adaptertune_deploy
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.serve.protocol import describe
from adaptertune_deploy.serve.protocol.models import image_model, tensor_model
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.statistics import Tally, TaskStatistics
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_adapter, make_task
from tests.serve.fakes import FakeEngine, make_merged, make_shared, served

RUNS = {
    "engine": "fake",
    "engine_version": "1",
    "provider": "CPUExecutionProvider",
    "device": "cpu",
    "precision": "fp32",
}


def test_the_server_claims_only_what_works() -> None:
    document = describe.server_metadata()
    assert document["name"] == "adaptertune-deploy"
    assert document["version"] == adaptertune_deploy.__version__
    assert set(document["extensions"]) == {
        "classification", "binary_tensor_data", "model_configuration", "schedule_policy", "statistics"
    }  # fmt: skip


def test_a_model_takes_images_and_gives_logits() -> None:
    session = make_shared()
    assert describe.model_metadata(image_model(served(1)[0]), session) == {
        "name": "flowers",
        "versions": ["1"],
        "platform": "adaptertune_shared",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 5]}],
        "parameters": {"adapter": "rank 4", "rank": 4, "temperature": 1.0, **RUNS},
    }
    merged, _ = make_merged()
    assert describe.model_metadata(image_model(served(0)[0]), merged)["platform"] == "adaptertune_merged"


def test_the_configuration_agrees_with_the_metadata_and_the_limits() -> None:
    session = make_shared(FakeEngine(provider="TensorRT", device="cuda:1", precision=Precision.FP16))
    config = describe.model_config(image_model(served(0)[0]), session, Settings(max_request_rows=16), 4, 2)
    assert config["max_batch_size"] == 16
    assert [(item["name"], item["data_type"], item["dims"]) for item in config["input"]] == [
        ("image", "TYPE_STRING", [1])
    ]
    assert [(item["name"], item["data_type"], item["dims"]) for item in config["output"]] == [
        ("logits", "TYPE_FP32", [3])
    ]
    assert config["dynamic_batching"]["preferred_batch_size"] == [4]
    (group,) = config["instance_group"]
    assert (group["kind"], group["gpus"], group["count"]) == ("KIND_GPU", [1], 2)
    assert [config["parameters"][name]["string_value"] for name in ("device", "precision")] == ["cuda:1", "fp16"]
    (group,) = describe.model_config(image_model(served(0)[0]), make_shared(), Settings(), 8, 1)["instance_group"]
    assert (group["kind"], group["gpus"]) == ("KIND_CPU", [])
    assert "response_cache" not in config
    cached = describe.model_config(image_model(served(0)[0]), session, Settings(cache=64), 8, 1)
    assert cached["response_cache"] == {"enable": True}


def test_a_tensor_model_takes_pixels_as_many_as_a_body_holds() -> None:
    session = make_shared()
    model = tensor_model(served(1)[0], session.preprocess)
    metadata = describe.model_metadata(model, session)
    assert (metadata["name"], metadata["inputs"]) == (
        "flowers__tensor",
        [{"name": "images", "datatype": "FP32", "shape": [-1, 3, 32, 32]}],
    )
    config = describe.model_config(model, session, Settings(body_limit=5 * 3 * 32 * 32 * 4), 8, 1)
    (tensor,) = config["input"]
    assert (tensor["data_type"], tensor["format"], tensor["dims"]) == ("TYPE_FP32", "FORMAT_NCHW", [3, 32, 32])
    assert config["max_batch_size"] == 4


def test_a_head_only_says_so() -> None:
    task = make_task("birds", rank=0, temperature=1.25)
    session = make_shared(adapters=[make_adapter(task)])
    expected = {"adapter": "head only", "rank": 0, "temperature": 1.25, **RUNS}
    assert describe.model_metadata(image_model(ServedTask(0, task)), session)["parameters"] == expected
    assert describe.model_config(image_model(ServedTask(0, task)), session, Settings(), 8, 1)["parameters"] == {
        "adapter": {"string_value": "head only"},
        "rank": {"string_value": "0"},
        "temperature": {"string_value": "1.25"},
        **{name: {"string_value": value} for name, value in RUNS.items()},
    }


def test_statistics_have_tritons_shape() -> None:
    entry = TaskStatistics(
        success=Tally(2, 30),
        cache_hit=Tally(1, 4),
        cache_miss=Tally(3, 9),
        rows=5,
        executions=2,
        last_inference_ms=7,
        batches={3: Tally(1, 20)},
    )
    document = describe.model_statistics(("pets", 3), entry)
    assert (document["name"], document["version"]) == ("pets", "3")
    assert (document["inference_count"], document["execution_count"], document["last_inference"]) == (5, 2, 7)
    assert document["inference_stats"]["success"] == {"count": 2, "ns": 30}
    assert document["inference_stats"]["cache_hit"] == {"count": 1, "ns": 4}
    assert document["inference_stats"]["cache_miss"] == {"count": 3, "ns": 9}
    assert set(document["inference_stats"]) == {
        "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"
    }  # fmt: skip
    assert document["batch_stats"][0]["batch_size"] == 3
    assert document["batch_stats"][0]["compute_infer"] == {"count": 1, "ns": 20}
