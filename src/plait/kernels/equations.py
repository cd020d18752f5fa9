"""A program and its gradient as formulas, for people: plain text or LaTeX.

Names are those of the cell's own code, where it gives any. A state before the step is h, after it
h'; δ is the gradient of the loss, by the input side of a gate (δi), by what `recurrent` gave where
that differs (δu_i), and by a state.
"""

from collections import Counter
from collections.abc import Iterable

from plait.kernels.derivative import Gradient, differentiate
from plait.kernels.notation import LATEX, LATEX_SIGNS, SIGNS, TEXT, Notation
from plait.kernels.program import FUNCTIONS, LEAVES, Node, Program, ancestors

SUM, PRODUCT, ATOM = 1, 2, 3
"""How tightly an expression holds together."""


def equations(program: Program, form: str = "text") -> tuple[list[str], list[str]]:
    """Return the lines of a step forward, and of its gradient.

    Parameters
    ----------
    program : Program
    form : "text" or "latex"
    """
    if form not in ("text", "latex"):
        raise ValueError(f"form must be 'text' or 'latex', not {form!r}")
    writer = _Writer(program, TEXT if form == "text" else LATEX)
    return writer.forward(), writer.backward()


class _Writer:
    def __init__(self, program: Program, notation: Notation) -> None:
        self.program, self.n = program, notation
        self.signs = SIGNS if notation is TEXT else LATEX_SIGNS
        self.names: dict[int, str] = {}
        self.gradient: Gradient = differentiate(program)

    def forward(self) -> list[str]:
        """Write the step."""
        program = self.program
        order = list(ancestors([*program.new, *(p.value for p in program.products)]))
        used = Counter(a.number for node in order for a in node.args)
        called = dict(program.names)
        for node in order:  # σ(i) takes the name of i, which is named for its gate
            if node.op in FUNCTIONS and node.number not in called and not node.row:
                (arg,) = node.args
                gate = called.get(arg.number) or _gate_of(arg)
                if gate in program.gates and used[arg.number] == 1:
                    called[node.number] = gate
                    called.pop(arg.number, None)
        for k, node in enumerate(program.new):
            if node.args:
                called[node.number] = f"{program.states[k]}'"
        lines, taken = [], set(program.states)
        for node in order:
            named = node.number in called and node.args and node.op != "product"
            new = node in program.new
            kept = node in self.gradient.kept and node.op in FUNCTIONS
            worth = new or kept or (named and node.op in FUNCTIONS)
            if worth or (node.args and used[node.number] > 1 and node.op not in ("product", "neg")):
                name = called.get(node.number, "")
                if not name or name in taken:
                    name = next(f"a{k}" for k in range(1, 999) if f"a{k}" not in taken)
                taken.add(name)
                lines.append(f"{self.symbol(name)} = {self.write(node, SUM)}")
                self.names[node.number] = self.symbol(name)
        for k, node in enumerate(program.new):
            if not node.args:
                lines.append(f"{program.states[k]}' = {self.write(node, SUM)}")
        return lines

    def backward(self) -> list[str]:
        """Write the gradient, which reads values by the names that `forward` gave."""
        g, program, d = self.gradient, self.program, self.n.delta
        self._name_kept()
        results: list[tuple[str, Node]] = []
        for k, gate in enumerate(program.gates):
            results.append((self._delta(gate), g.inputs[k]))
        for (index, gate), node in g.recurrent.items():
            if node is not g.inputs[program.gates.index(gate)]:
                results.append((self._delta_recurrent(index, gate), node))
        for k, state in enumerate(program.states):
            results.append((d.format(state), g.states[k]))
        states = tuple(d.format(state) for state in program.states)
        order = sorted(ancestors([n for _, n in results]), key=lambda n: (n.stage, n.number))
        used = Counter(a.number for node in order for a in node.args)
        targets: dict[int, list[str]] = {}
        for name, node in results:
            targets.setdefault(node.number, []).append(name)
        lines, count = [], 0
        for node in order:
            known = node.number in self.names
            if node.number in targets and not known:
                names = targets.pop(node.number)
                lines.append(f"{' = '.join(names)} = {self.write(node, SUM)}")
                if node.args:
                    self.names[node.number] = names[0]
            elif node.args and used[node.number] > 1 and node.op != "neg" and not known:
                count += 1
                name = self.n.numbered.format("e", count)
                lines.append(f"{name} = {self.write(node, SUM)}")
                self.names[node.number] = name
        for number, names in targets.items():
            lines += [f"{name} = {self.names[number]}" for name in names]
        last = [line for line in lines if line.startswith(tuple(f"{s} = " for s in states))]
        return [*(line for line in lines if line not in last), *last, *self._weights()]

    def _delta(self, gate: str) -> str:
        """Write the gradient of a gate's input side."""
        a = self.n.subscript.format("a", gate)
        return self.n.delta.format(a if gate in self.program.states else gate)

    def _delta_recurrent(self, index: int, gate: str) -> str:
        """Write the gradient of what a product gave a gate."""
        if (
            self.gradient.recurrent[index, gate]
            is self.gradient.inputs[self.program.gates.index(gate)]
        ):
            return self._delta(gate)
        return self.n.delta.format(self.n.subscript.format("u", gate))

    def _name_kept(self) -> None:
        leaf = self.program.nodes.leaf
        for op, kept in (("kept", self.gradient.kept), ("kept_row", self.gradient.kept_rows)):
            for k, node in enumerate(kept):
                name = self.names.get(node.number) or self.write(node, ATOM)
                self.names[leaf(op, k, row=op == "kept_row").number] = name

    def _weights(self) -> list[str]:
        """Write the gradients of all weights, which are sums over time."""
        n, program = self.n, self.program
        lines = []
        for gate in program.gates:
            sum_ = n.over_time.format(n.outer.format(self._delta(gate), "x"))
            lines.append(f"{n.partial.format(n.subscript.format('W', gate))} = {sum_}")
        for p in program.products:
            value = self.write(p.value, ATOM)
            for gate in p.gates:
                over = n.outer.format(self._delta_recurrent(p.index, gate), value)
                left = n.partial.format(n.subscript.format("U", gate))
                lines.append(f"{left} = {n.over_time.format(over)}")
        for v in program.vectors:
            node = self.program.nodes.leaf("vector", v)
            text = self.write(self.gradient.vectors[v], PRODUCT)
            lines.append(f"{n.partial.format(self.write(node, ATOM))} = {n.over_time.format(text)}")
        return lines

    def symbol(self, name: str) -> str:
        """Write a name with its subscript."""
        head, _, tail = name.partition("_")
        return self.n.subscript.format(head, tail) if tail else name

    def write(self, node: Node, tight: int) -> str:
        """Write an expression, in brackets where it holds together less than it must."""
        if node.number in self.names:
            return self.names[node.number]
        if node.op in LEAVES:
            return self._leaf(node, tight)
        n, args = self.n, node.args
        match node.op:
            case "add" | "sub":
                left, right = args
                if node.op == "add" and right.number < left.number:
                    left, right = right, left
                sign = "+" if node.op == "add" else "−" if n is TEXT else "-"
                text = f"{self.write(left, SUM)} {sign} "
                text += self.write(right, SUM if node.op == "add" else PRODUCT)
                return f"({text})" if tight > SUM else text
            case "mul":
                mean = self._mean(args)
                if mean is not None:
                    return mean
                text = n.times.join(self.write(a, PRODUCT) for a in args)
                return f"({text})" if tight > PRODUCT else text
            case "div":
                brackets = SUM if n is LATEX else ATOM
                text = n.fraction.format(*(self.write(a, brackets) for a in args))
                return f"({text})" if tight > SUM and n is TEXT else text
            case "neg":
                text = f"{'−' if n is TEXT else '-'}{self.write(args[0], PRODUCT)}"
                return f"({text})" if tight > SUM else text
            case "where":
                condition, a, b = args
                return n.where.format(*(self.write(x, SUM) for x in (a, condition, b)))
            case "rowsum":
                return n.total.format(self._listed(args))
            case "detach":
                return self.write(args[0], tight)
            case op if op in self.signs:
                return f"{self.write(args[0], SUM)} {self.signs[op]} {self.write(args[1], SUM)}"
            case op:
                return n.functions[op].format(*(self.write(a, SUM) for a in args))

    def _mean(self, args: Iterable[Node]) -> str | None:
        ops = {a.op: a for a in args}
        if set(ops) == {"rowsum", "per_width"}:
            return self.n.mean.format(self._listed(ops["rowsum"].args))
        return None

    def _listed(self, args: tuple[Node, ...]) -> str:
        return ", ".join(self.write(a, SUM) for a in args)

    def _leaf(self, node: Node, tight: int) -> str:
        n, program = self.n, self.program
        match node.op, node.value:
            case "const", float(value):
                text = f"{value:g}".replace("-", "−" if n is TEXT else "-")
                return f"({text})" if value < 0 and tight > SUM else text
            case "per_width", int(k):
                return f"1/{k if k > 1 else ''}H"
            case "input", int(k):
                return n.weight.format(n.subscript.format("W", program.gates[k]), "x")
            case "vector", ("bias", int(k)):
                return n.subscript.format("b", self._biased(k))
            case "vector", ("recurrent_bias", int(k)):
                return n.subscript.format("d", self._recurrent_biased(k))
            case "vector", (name, int(k)):
                several = sum(other == name for other, _ in program.vectors) > 1
                return f"{self.symbol(name)}[{k + 1}]" if several else self.symbol(name)
            case "state", int(k):
                return program.states[k]
            case "new", int(k):
                return f"{program.states[k]}'"
            case "product", (_, gate):
                weight = n.subscript.format("U", gate)
                return n.weight.format(weight, self.write(node.args[0], ATOM))
            case "grad", int(k):
                return n.delta.format(f"{program.states[k]}'")
            case "back", int(k):
                text = self._back(k)
                return f"({text})" if tight > SUM and " + " in text else text
            case _:
                return "m"

    def _back(self, index: int) -> str:
        parts = []
        for gate in self.program.products[index].gates:
            weight = self.n.subscript.format("U", gate)
            parts.append(self.n.transposed.format(weight, self._delta_recurrent(index, gate)))
        return " + ".join(parts)

    def _biased(self, k: int) -> str:
        """Name the gate of the k-th bias."""
        for node in ancestors(self.program.new):
            if node.op == "add" and {a.op for a in node.args} == {"input", "vector"}:
                given = {a.op: a.value for a in node.args}
                if given["vector"] == ("bias", k):
                    return self.program.gates[given["input"]]
        return str(k)

    def _recurrent_biased(self, k: int) -> str:
        for node in ancestors(self.program.new):
            if node.op == "add" and {a.op for a in node.args} == {"product", "vector"}:
                given = {a.op: a.value for a in node.args}
                if given["vector"] == ("recurrent_bias", k):
                    return given["product"][1]
        return str(k)


def _gate_of(node: Node) -> str | None:
    """Name the gate whose pre-activation this is, if it is one gate's."""
    gates = {n.value[1] for n in ancestors([node]) if n.op == "product" and n.args[0].op == "state"}
    return next(iter(gates)) if len(gates) == 1 and node.op in ("add", "sub") else None
