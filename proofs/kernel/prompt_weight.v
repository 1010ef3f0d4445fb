(* The weight w_G(p) that GRPO (population deviation, no epsilon) gives a prompt of success rate p, binary rewards: the
   mean update is w_G(p) times the gradient of p. A group has G = N.+2 rollouts, k of them correct. *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From Gradvar Require Import group_means.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Weight.
Variables (F : rcfType) (N : nat).
Notation G := N.+2.

(* The mean squared deviation of k ones and G - k zeros, and its root. *)
Definition spread k : F := (k%:R * (1 - k%:R / G%:R) ^+ 2 + (G - k)%:R * (0 - k%:R / G%:R) ^+ 2) / G%:R.
Definition sigma k := Num.sqrt (spread k).
Definition advantage (reward : F) k := (reward - k%:R / G%:R) / sigma k.
Definition chance k p : F := 'C(G, k)%:R * p ^+ k * (1 - p) ^+ (G - k).
(* The mean score of a correct rollout is grad p / p, that of a wrong one - grad p / (1 - p). *)
Definition term k p := chance k p * (k%:R * advantage 1 k / p - (G - k)%:R * advantage 0 k / (1 - p)) / G%:R.
Definition weight p := \sum_(1 <= k < G) term k p.

Let G0 : (G%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.

Lemma spread_closed k : (k <= G)%N -> spread k = k%:R * (G - k)%:R / G%:R ^+ 2.
Proof.
move=> le; rewrite /spread natrB //; move: G0; move: (G%:R) (k%:R) => x y x0.
by field; rewrite x0.
Qed.

Lemma spread_gt0 k : (0 < k < G)%N -> 0 < spread k.
Proof.
case/andP=> pos below; rewrite spread_closed ?(ltnW below) //.
by rewrite divr_gt0 ?exprn_gt0 ?mulr_gt0 ?ltr0n // subn_gt0.
Qed.

Lemma sigma_sq k : (0 < k < G)%N -> sigma k ^+ 2 = spread k.
Proof. by move=> inside; rewrite sqr_sqrtr // ltW // spread_gt0. Qed.

Lemma sigma_gt0 k : (0 < k < G)%N -> 0 < sigma k.
Proof. by move=> inside; rewrite sqrtr_gt0 spread_gt0. Qed.

(* B6a, term *)
Theorem term_is_chance_times_deviation k p : (0 < k < G)%N -> p != 0 -> 1 - p != 0 ->
  term k p * p * (1 - p) = chance k p * spread k / sigma k.
Proof.
move=> inside p0 q0; have s0 := lt0r_neq0 (sigma_gt0 inside).
case/andP: inside => _ /ltnW le; rewrite /term /advantage spread_closed // natrB //.
move: G0 s0 p0 q0; move: (G%:R) (k%:R) (sigma k) (chance k p) => x y s c x0 s0 p0 q0.
by field; rewrite x0 s0 p0 q0.
Qed.

(* B6a, Bernstein form *)
Theorem binomial_times_spread j : (j <= N)%N ->
  'C(G, j.+1)%:R * spread j.+1 = 'C(N, j)%:R * N.+1%:R / G%:R.
Proof.
move=> le; have inside : (j.+1 <= G)%N by rewrite ltnS leqW.
have first : (G * 'C(N.+1, j) = j.+1 * 'C(G, j.+1))%N := mul_bin_diag G j.
have third : (N.+1 * 'C(N, j) = (N.+1 - j) * 'C(N.+1, j))%N.
  by rewrite mul_bin_down.
rewrite spread_closed // subSS.
have first' := congr1 (fun m : nat => m%:R : F) first; rewrite !natrM in first'.
have third' := congr1 (fun m : nat => m%:R : F) third; rewrite !natrM in third'.
apply: (mulIf G0); rewrite divfK // [RHS]mulrC third'.
apply: (mulIf G0); rewrite -[in RHS]mulrA [_ * G%:R in RHS]mulrC first'.
by move: G0; move: (G%:R) => x x0; field.
Qed.

(* The coefficients of the weight in Bernstein polynomials of degree G - 2. *)
Definition coefficient j : F := N.+1%:R / (G%:R * sigma j.+1).

(* B6a: the factor p (1 - p) cancels, so the weight is a polynomial *)
Theorem weight_is_a_polynomial p : p != 0 -> 1 - p != 0 ->
  weight p = \sum_(j < N.+1) 'C(N, j)%:R * p ^+ j * (1 - p) ^+ (N - j) * coefficient j.
Proof.
move=> p0 q0; rewrite /weight big_add1 /= big_mkord; apply: eq_bigr => j _.
have le : (j <= N)%N by rewrite -ltnS.
have inside : (0 < j.+1 < G)%N by rewrite /= ltnS ltnS.
have s0 := lt0r_neq0 (sigma_gt0 inside).
apply: (mulIf p0); apply: (mulIf q0); rewrite term_is_chance_times_deviation // /chance subSS exprS.
rewrite (subSn le) exprS.
transitivity (('C(G, j.+1)%:R * spread j.+1) * (p * p ^+ j) * ((1 - p) * (1 - p) ^+ (N - j)) / sigma j.+1).
  by ring.
rewrite binomial_times_spread // /coefficient.
move: G0 s0; move: (G%:R) (sigma j.+1) => x s x0 s0.
by field; rewrite x0 s0.
Qed.
End Weight.
