"""L2-SP on whole networks: what is pulled, what counts in the loss, and the way back."""

import keras
import numpy as np
import pytest

import zoo
from zoo.boundary import cut_trunk
from zoo.enforcement import apply, edge_of
from zoo.errors import RecipeError, SurgeryError
from zoo.flattening import flat
from zoo.layers import L2SP, Inference
from zoo.plan import freeze
from zoo.stage_network import StageNetwork, held_head
from zoo.starting_point import l2_sp, start_of

from .networks import NETWORKS, clusters, dense_net, images, small_convnet, values

layers = keras.layers


def penalty(model: keras.Model) -> float:
    return float(sum(float(loss) for loss in model.losses))


def squared(model: keras.Model, start: dict[str, np.ndarray], *names: str) -> float:
    """By hand: the sum of the squared distances of some layers' kernels."""
    return sum(float(np.square(np.asarray(model.get_layer(n).kernel) - start[f"{n}/kernel"]).sum()) for n in names)


def test_the_loss_has_both_halves_of_the_equation():
    net = dense_net()
    start = start_of(net)
    l2_sp(net, alpha=0.4, beta=0.2, fresh="top")
    assert penalty(net) == pytest.approx(0.1 * float(np.square(np.asarray(net.get_layer("top").kernel)).sum()))
    for layer in net.layers:
        for weight in layer.weights:
            weight.assign(weight + 0.1)
    zero = {"top/kernel": np.zeros((8, 3))}
    expected = 0.2 * squared(net, start, "low1", "low2") + 0.1 * squared(net, zero, "top")
    assert penalty(net) == pytest.approx(expected, rel=1e-5)


def test_fit_ends_nearer_to_the_start_the_stronger_the_pull():
    x, labels = clusters(60)
    moved = []
    for alpha in (0.0, 0.1, 10.0):
        net = dense_net()
        start = start_of(net)
        l2_sp(net, alpha, fresh="top")
        net.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
        net.fit(x, labels, epochs=20, verbose=0)
        moved.append(squared(net, start, "low1", "low2"))
    assert moved[0] > moved[1] > moved[2] > 0


def test_a_compiled_network_sees_it_at_once_and_forgets_it_at_once():
    """Keras's step keeps the regularizers that there were when it was traced."""
    x, labels = clusters(20)
    net = dense_net()
    net.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    plain = net.fit(x, labels, verbose=0).history["loss"][0]
    far = {name: w + 1 for name, w in start_of(net).items()}
    with l2_sp(net, 2.0, start=far):
        count = 6 * 8 + 8 * 8 + 8 * 3
        assert net.fit(x, labels, verbose=0).history["loss"][0] == pytest.approx(plain + count, rel=1e-5)
        assert net.evaluate(x, labels, verbose=0) == pytest.approx(plain + count, rel=1e-5)
    assert net.fit(x, labels, verbose=0).history["loss"][0] == pytest.approx(plain, rel=1e-5)


def test_frozen_weights_count_once_they_are_thawed():
    net = dense_net()
    start = start_of(net)
    far = {name: w + 1 for name, w in start.items()}
    l2_sp(net, 2.0, start=far)
    net.get_layer("low1").trainable = False
    assert penalty(net) == pytest.approx(8 * 8 + 8 * 3, rel=1e-5)
    net.get_layer("low1").trainable = True
    assert penalty(net) == pytest.approx(6 * 8 + 8 * 8 + 8 * 3, rel=1e-5)


def test_a_stage_pulls_what_it_trains_and_nothing_below():
    """zoo's own loop: the loss has the penalties of the head, and the rest moves by no bit."""
    net = small_convnet()
    plan = freeze(net, train=["block3", "top"])
    graph = flat(net)
    apply(plan, graph)
    edge = edge_of(plan, graph)
    far = {name: w + 1 for name, w in start_of(net).items()}
    pull = l2_sp(net, 2.0, start=far, fresh="top_output")
    model = StageNetwork([], cut_trunk(graph, edge), held_head(graph, edge, plan), "float32", graph)
    inside = [name for name in pull.reused if name.startswith("block3")]
    count = sum(far[name].size for name in inside)
    assert inside
    assert penalty(model) == pytest.approx(count, rel=1e-5)
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    before = {name: np.asarray(v) for name, v in start_of(net).items()}
    loss = model.train_on_batch(images(8), np.arange(8), return_dict=True)["loss"]
    assert float(loss) > count
    after = start_of(net)
    for name in pull.reused:
        same = np.array_equal(before[name], after[name])
        assert same == (name not in inside), name


def test_kernels_only_as_in_the_authors_code():
    net = small_convnet()
    pull = l2_sp(net, 0.1, 0.01, fresh="top_output")
    regularized = {v.name for layer in net.layers for v in layer.trainable_variables if v.regularizer is not None}
    assert regularized == {"kernel"}
    assert all("bn" not in name for name in pull.reused)
    assert pull.fresh == ("top_output/kernel",)


def test_what_is_no_kernel_is_left_out_whatever_its_axes():
    """The biases of attention have two axes, and a gate of the user's own may have any name."""

    class Gated(layers.Layer):
        def build(self, shape: tuple[int, ...]) -> None:
            self.gate = self.add_weight(name="gate", shape=(shape[-1],))
            self.table = self.add_weight(name="table", shape=(3, shape[-1]))

        def call(self, x):
            return x * self.gate + keras.ops.sum(self.table, axis=0)

    inputs = keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    x = layers.PReLU(shared_axes=[1], name="slopes")(Gated(name="gated")(x))
    pull = l2_sp(keras.Model(inputs, x), 1.0)
    kernels = ["kernel", "kernel#2", "kernel#3", "kernel#4"]
    assert pull.reused == (*(f"attention/{kernel}" for kernel in kernels), "gated/table")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_pulled_and_left_as_it_was(name: str):
    """Also where models lie inside, and where a layer is called twice: its weights count once."""
    net = NETWORKS[name][0]()
    before = values(net)
    kernels = [v for v in net.trainable_variables if len(v.shape) > 1]
    own = [v.regularizer for v in kernels]
    far = {key: w + 1 for key, w in start_of(net).items()}
    pull = l2_sp(net, 2.0, start=far)
    assert len(pull.reused) == len(kernels)
    assert penalty(net) == pytest.approx(sum(np.prod(v.shape) for v in kernels), rel=1e-5)
    pull.undo()
    assert [v.regularizer for v in kernels] == own
    assert values(net) == before


def test_a_weight_in_two_layers_counts_once():
    dense = layers.Dense(4, name="dense")
    inputs = keras.Input((4,))
    net = keras.Model(inputs, Inference(dense)(dense(inputs)))
    assert l2_sp(net, 1.0).reused == ("dense/kernel",)


def test_undoing_puts_the_networks_own_regularizers_back():
    own = keras.regularizers.L1(0.5)
    net = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_regularizer=own, name="low"), layers.Dense(2)])
    before = penalty(net)
    with l2_sp(net, 1.0) as pull:
        assert penalty(net) == 0
        assert "pulled to their start (alpha 1)" in str(pull)
    assert net.get_layer("low").kernel.regularizer is own
    assert penalty(net) == before > 0


def test_without_a_beta_fresh_layers_keep_their_own_regularizer():
    own = keras.regularizers.L1(0.5)
    net = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2, kernel_regularizer=own, name="top")])
    pull = l2_sp(net, 1.0, fresh="top")
    assert net.get_layer("top").kernel.regularizer is own
    assert pull.fresh == ()


def test_a_saved_network_is_the_plain_one_that_it_was(tmp_path):
    net = dense_net()
    net.save(tmp_path / "before.keras")
    l2_sp(net, 0.1)
    net.save(tmp_path / "after.keras")
    before, after = (keras.models.load_model(tmp_path / f"{name}.keras") for name in ("before", "after"))
    assert before.get_config() == after.get_config()
    assert all(v.regularizer is None for v in after.variables)


def test_another_networks_weights_are_the_start_by_name_and_shape():
    old = dense_net()
    new = zoo.replace_top(old, cut="low2", classes=5)
    for weight in new.trainable_variables:
        weight.assign(weight + 1)
    pull = l2_sp(new, 2.0, 0.5, start=old)
    assert pull.reused == ("low1/kernel", "low2/kernel")
    assert pull.fresh == ("top_output/kernel",)
    assert isinstance(new.get_layer("low1").kernel.regularizer, L2SP)
    np.testing.assert_array_equal(
        np.asarray(new.get_layer("low1").kernel.regularizer.start), old.get_layer("low1").kernel
    )


def test_what_cannot_be_pulled_is_refused():
    net = dense_net()
    with pytest.raises(RecipeError, match=r"`alpha` cannot be used\. Expected a number, 0 or more; received -0\.1"):
        l2_sp(net, -0.1)
    with pytest.raises(SurgeryError, match=r"no layer 'tip'\. Did you mean 'top'"):
        l2_sp(net, 0.1, fresh="tip")
    with pytest.raises(SurgeryError, match="is not a regular expression"):
        l2_sp(net, 0.1, layers="(")
    with pytest.raises(SurgeryError, match=r"No weight of 'dense_net' has a start.*Check `fresh`"):
        l2_sp(net, 0.1, start=small_convnet())
    with pytest.raises(RecipeError, match=r"no starting point.*received list"):
        l2_sp(net, 0.1, start=[1])  # pyright: ignore[reportArgumentType]
