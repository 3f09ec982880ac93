// What was made for the same inputs is kept: the one place where "nothing has changed" is decided.

export interface Memo<T> {
  /** The value made for these inputs; made anew where one of them is another one than last time. */
  (inputs: readonly unknown[], make: () => T): T;
  /** Make it anew the next time, whatever the inputs. */
  forget(): void;
}

/** Inputs are compared by identity, as `Object.is` does. */
export function memo<T = void>(): Memo<T> {
  let kept: { inputs: readonly unknown[]; value: T } | undefined;
  const call = (inputs: readonly unknown[], make: () => T): T => {
    if (!kept || !same(kept.inputs, inputs)) kept = { inputs, value: make() };
    return kept.value;
  };
  return Object.assign(call, {
    forget: () => {
      kept = undefined;
    },
  });
}

function same(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((value, at) => Object.is(value, other[at]));
}
