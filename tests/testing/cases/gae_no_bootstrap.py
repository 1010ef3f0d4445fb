"""GAE over [N, T] with a bootstrap value: the last step forgets gamma * V(s_T)."""

import numpy as np


def _gae(rewards, values, dones, next_value, gamma, lam, boot):
    T = rewards.shape[0]
    adv = np.zeros_like(rewards)
    carry = 0.0
    for t in range(T - 1, -1, -1):
        nxt = values[t + 1] if t + 1 < T else (next_value if boot else 0.0)
        alive = 1.0 - dones[t]
        d = rewards[t] + gamma * nxt * alive - values[t]
        carry = d + gamma * lam * alive * carry
        adv[t] = carry
    return adv, adv + values


def faulty(rewards, values, dones, next_value, gamma=0.99, lam=0.95):
    return _gae(rewards, values, dones, next_value, gamma, lam, False)


def fixed(rewards, values, dones, next_value, gamma=0.99, lam=0.95):
    return _gae(rewards, values, dones, next_value, gamma, lam, True)
