(* The KL estimators k1, k2, k3 of one token as losses, on policy, for a softmax over finitely many answers with the
   chances p and a reference q of full support. k y is log(p y / q y), so exp(- k y) = q y / p y, and the derivative of
   p y by the logit of x is p y (1{y = x} - p x), the chance times the score. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import group_means unbiased.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section OneToken.
Variables (F : numFieldType) (T : finType) (p q k : T -> F).
Hypothesis chances_sum_to_one : \sum_y p y = 1.
Hypothesis reference_sums_to_one : \sum_y q y = 1.
Hypothesis full_support : forall y, p y != 0.
Implicit Types x y : T.

Definition slope_of_chance x y := p y * score p x y.
(* The mean derivative of a loss whose slope by log p y is f y. *)
Definition pull (f : T -> F) x := \sum_y p y * (f y * score p x y).
Definition k1_slope y : F := 1.
Definition k2_slope y := k y.
Definition k3_slope y := 1 - q y / p y.
(* By the chain rule: of sum p (log p - log q), and of sum q (log q - log p). *)
Definition reverse_kl_slope x := \sum_y slope_of_chance x y * (k y + 1).
Definition forward_kl_slope x := \sum_y - (q y / p y) * slope_of_chance x y.

Lemma score_sum x : \sum_y p y * score p x y = 0.
Proof. exact: score_has_mean_zero. Qed.

(* B24a, k1 *)
Theorem k1_as_a_loss_does_nothing x : pull k1_slope x = 0.
Proof. by rewrite /pull; under eq_bigr do rewrite mul1r; exact: score_sum. Qed.

(* B24a, k2 *)
Theorem k2_as_a_loss_is_the_reverse_kl x : pull k2_slope x = reverse_kl_slope x.
Proof.
rewrite /pull /reverse_kl_slope /slope_of_chance /k2_slope.
under [in RHS]eq_bigr do rewrite mulrDr mulr1.
by rewrite big_split /= score_sum addr0; apply: eq_bigr => y _; ring.
Qed.

(* B24a, k3 *)
Theorem k3_as_a_loss_is_the_forward_kl x : pull k3_slope x = forward_kl_slope x.
Proof.
rewrite /pull /forward_kl_slope /slope_of_chance /k3_slope.
rewrite (eq_bigr (fun y => p y * score p x y + - (q y / p y) * (p y * score p x y))) => [|y _]; last by ring.
by rewrite big_split /= score_sum add0r.
Qed.

(* B24a, k1 in the reward: the sample's score is multiplied by k there, and by the slope of k2 in the loss *)
Theorem k1_in_the_reward_is_k2_as_a_loss x : \sum_y p y * (k y * score p x y) = pull k2_slope x.
Proof. by []. Qed.
End OneToken.
