// An estimator's figures over prompts: sums of the proved formulas over the number of right rollouts in a group.
"use strict";
const MODEL = (() => {
  const F = FORMULAS;

  // The advantages of a right and of a wrong rollout with k of G right; 0 where there is no such rollout.
  function advantages(name, G, k) {
    const e = F.estimators[name];
    return [k === G ? e.solved : k ? e.right(G, k) : 0, k === 0 ? e.failed : k < G ? e.wrong(G, k) : 0];
  }

  // One prompt, one group: the factor of grad J, the mean squared norm, the chance of two different rewards.
  function group(name, G, p, numbers) {
    let chance = F.chanceOfNone(G, p), weight = 0, second = 0, mixed = 0;
    for (let k = 0; k <= G; k++) {
      const [right, wrong] = advantages(name, G, k);
      weight += chance * F.meanGiven(G, k, p, right, wrong);
      second += chance * F.secondGiven(G, k, p, right, wrong, numbers.signal, numbers.v1, numbers.v0);
      if (k > 0 && k < G) mixed += chance;
      if (k < G) chance *= F.chanceRatio(G, k, p);
    }
    return {weight, second, mixed};
  }

  function numbersOf(p, answers) {
    return {signal: F.signal(p, answers), v1: F.v1(p, answers), v0: F.v0(p, answers)};
  }

  // prompts: [{p, count}]; answers: right ones of a prompt, and as many wrong ones; alignment: the cosine between the
  // gradients of two prompts, 0 where each prompt has parameters of its own. One prompt to a batch.
  function figures(name, G, prompts, answers, alignment) {
    let n = 0, ww = 0, wu = 0, uu = 0, ws = 0, us = 0, qq = 0, mixed = 0;
    for (const {p, count} of prompts) {
      if (!count) continue;
      const numbers = numbersOf(p, answers), one = group(name, G, p, numbers), root = Math.sqrt(numbers.signal);
      n += count;
      ww += count * one.weight ** 2 * numbers.signal;
      wu += count * one.weight * numbers.signal;
      uu += count * numbers.signal;
      ws += count * one.weight * root;
      us += count * root;
      qq += count * one.second;
      mixed += count * one.mixed;
    }
    const product = (diagonal, x, y) => (diagonal + alignment * (x * y - diagonal)) / n ** 2;
    const signal = product(ww, ws, ws), aligned = product(wu, ws, us), truth = product(uu, us, us);
    const between = Math.max(ww / n - signal, 0), within = qq / n - ww / n, trace = between + within;
    return {
      signal, between, within, trace, mixed: mixed / n, biasFactor: aligned / truth,
      cosine: aligned / Math.sqrt(signal * truth), perRollout: signal / trace / G,
      relative: trace * truth / signal, // of the estimator scaled to grad J's length
    };
  }

  // G* of leave-one-out at a fixed number of rollouts; infinite where the prompts' gradients do not differ.
  function optimum(prompts, answers, alignment) {
    let n = 0, price = 0, uu = 0, us = 0;
    for (const {p, count} of prompts) {
      const {signal, v1, v0} = numbersOf(p, answers);
      n += count;
      price += count * F.price(p, signal, v1, v0);
      uu += count * signal;
      us += count * Math.sqrt(signal);
    }
    const between = uu / n - (uu + alignment * (us * us - uu)) / n ** 2;
    return between > 1e-15 * uu ? F.bestSize(price / n, between) : Infinity;
  }

  // The size from 2 to `largest` with the highest signal-to-noise ratio per rollout.
  function best(name, prompts, answers, alignment, largest) {
    let size = 2, highest = -1;
    for (let G = 2; G <= largest; G++) {
      const value = figures(name, G, prompts, answers, alignment).perRollout;
      if (value > highest * (1 + 1e-12)) [size, highest] = [G, value];
    }
    return size;
  }

  // A pair with one right rollout whose log-ratios have moved m apart, half of it each: token weights, GRPO's in units
  // of 1/2 (its 1/G), DPO's over beta.
  function pair(m, beta, low, high) {
    const [up, down] = [Math.exp(m / 2), Math.exp(-m / 2)];
    const a = F.estimators.grpo.right(2, 1) / 2, b = F.estimators.grpo.wrong(2, 1) / 2;
    return {
      grpo: [F.clipped(a, up, low, high), F.clipped(b, down, low, high)],
      cispo: [F.cispo(a, up, low, high), F.cispo(b, down, low, high)],
      dpo: [F.preferred(beta, m) / beta, F.other(beta, m) / beta],
    };
  }

  // A pair with a right rollout of `ratio` times as many tokens as the wrong one's `tokens`: token weights, and the sum
  // over each rollout's tokens.
  function lengths(name, tokens, ratio) {
    const long = tokens * ratio, e = F.lengths[name], all = tokens + long;
    const right = e.right(2, 1, long, all), wrong = e.wrong(2, 1, tokens, all);
    return {right, wrong, rightSum: right * long, wrongSum: wrong * tokens};
  }

  return {advantages, group, numbersOf, figures, optimum, best, pair, lengths};
})();
