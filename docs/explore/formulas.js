// Made by `python docs/make_explorer.py` from the conclusions of proved claims; do not edit.
"use strict";
const FORMULAS = {
  colours: {"light": ["#2272d0", "#ff591e", "#1b9f7d", "#9c4586", "#269df1", "#a73830", "#430a0f", "#672439"], "dark": ["#36c9ff", "#ff7016", "#37b374", "#fe90be", "#ffc453", "#b460ff", "#f6fcc8", "#7b8398"]},
  // advantages with k of G rollouts right; solved and failed: where all are right, or none is
  estimators: {
    grpo: {title: "GRPO", claim: "D12", right: (G, k) => -1000000*(-G + k)/(G + 1000000*Math.sqrt(k)*Math.sqrt(G - k)),
      wrong: (G, k) => -1000000*k/(G + 1000000*Math.sqrt(k)*Math.sqrt(G - k)), solved: 0, failed: 0},
    grpo_sample_std: {title: "GRPO, sample std", claim: "D13", right: (G, k) => -1000000*(-G + k)/(Math.sqrt(G)*(Math.sqrt(G) + 1000000*Math.sqrt(k)*Math.sqrt(G/(G - 1) - k/(G - 1)))),
      wrong: (G, k) => -1000000*k/(Math.sqrt(G)*(Math.sqrt(G) + 1000000*Math.sqrt(k)*Math.sqrt(G/(G - 1) - k/(G - 1)))), solved: 0, failed: 0},
    dr_grpo: {title: "Dr. GRPO", claim: "D11", right: (G, k) => -(-G + k)/G,
      wrong: (G, k) => -k/G, solved: 0, failed: 0},
    rloo: {title: "RLOO", claim: "D4", right: (G, k) => -(-G + k)/(G - 1),
      wrong: (G, k) => -k/(G - 1), solved: 0, failed: 0},
    maxrl: {title: "MaxRL", claim: "D7", right: (G, k) => -(-G + k)/k,
      wrong: (G, k) => -1, solved: 0, failed: 0},
    reinforce: {title: "REINFORCE", claim: "D1", right: (G, k) => 1,
      wrong: (G, k) => 0, solved: 1, failed: 0},
  },
  // a token's weight where its rollout has n tokens and the mixed groups N
  lengths: {
    grpo: {title: "GRPO", claim: "D12", right: (G, k, n, N) => -1000000*(-G + k)/(G*n*(G + 1000000*Math.sqrt(k)*Math.sqrt(G - k))), wrong: (G, k, n, N) => -1000000*k/(G*n*(G + 1000000*Math.sqrt(k)*Math.sqrt(G - k)))},
    dapo: {title: "DAPO", claim: "D16", right: (G, k, n, N) => -1000000*(-G + k)/(N*(G + 1000000*Math.sqrt(k)*Math.sqrt(G - k))), wrong: (G, k, n, N) => -1000000*k/(N*(G + 1000000*Math.sqrt(k)*Math.sqrt(G - k)))},
    dr_grpo: {title: "Dr. GRPO", claim: "D11", right: (G, k, n, N) => -(-G + k)/Math.pow(G, 2), wrong: (G, k, n, N) => -k/Math.pow(G, 2)},
  },
  // the chance that no rollout of G is right
  chanceOfNone: (G, p) => Math.pow(1 - p, G),
  // the chance of k + 1 right rollouts over that of k
  chanceRatio: (G, k, p) => -p*(-G + k)/((1 - p)*(k + 1)),
  // N1: the factor of grad J in the mean given k right rollouts
  meanGiven: (G, k, p, right, wrong) => (k*right/p - wrong*(G - k)/(1 - p))/G,
  // N1: the mean squared norm given k
  secondGiven: (G, k, p, right, wrong, signal, v1, v0) => (k*Math.pow(right, 2)*v1 + signal*(-2*k*right*wrong*(G - k)/(p*(1 - p)) + k*Math.pow(right, 2)*(k - 1)/Math.pow(p, 2) + Math.pow(wrong, 2)*(G - k)*(G - k - 1)/Math.pow(1 - p, 2)) + v0*Math.pow(wrong, 2)*(G - k))/Math.pow(G, 2),
  // a softmax over as many right answers as wrong ones
  signal: (p, answers) => 2*Math.pow(p, 2)*Math.pow(1 - p, 2)/answers,
  // a softmax over as many right answers as wrong ones
  v1: (p, answers) => 1 + Math.pow(p, 2)/answers - 2*p/answers + Math.pow(1 - p, 2)/answers,
  // a softmax over as many right answers as wrong ones
  v0: (p, answers) => 1 + Math.pow(p, 2)/answers + Math.pow(1 - p, 2)/answers - (2 - 2*p)/answers,
  // N2: sigma_o^2 of leave-one-out
  oracle: (p, signal, v1, v0) => -Math.pow(p, 3)*v0 + Math.pow(p, 3)*v1 + Math.pow(p, 2)*v0 - 2*Math.pow(p, 2)*v1 + p*v1 - signal,
  // N2: Delta of leave-one-out
  price: (p, signal, v1, v0) => Math.pow(p, 3)*v0 - Math.pow(p, 3)*v1 - 2*Math.pow(p, 2)*v0 + Math.pow(p, 2)*v1 + p*v0 + signal,
  // N3: G*
  bestSize: (price, between) => 1 + Math.sqrt(price)/Math.sqrt(between),
  // B21: a token's weight under PPO's clip
  clipped: (A, rho, low, high) => ((A > 0 && rho > high + 1 || A < 0 && rho < 1 - low) ? ( 0 ) : ( A*rho )),
  // B21: its weight under CISPO
  cispo: (A, rho, low, high) => A*Math.min(high + 1, Math.max(rho, 1 - low)),
  // A3: DPO's weight of the preferred answer
  preferred: (beta, m) => beta/(Math.exp(beta*m) + 1),
  // A3: of the other answer
  other: (beta, m) => -beta/(Math.exp(beta*m) + 1),
};
