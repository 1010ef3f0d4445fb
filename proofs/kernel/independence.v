(* Means over groups of independent rollouts. Rollout i is drawn from the finite set T with the chances P i; a group is
   a function from rollouts to answers, and its chance is the product. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Independent.
Variables (F : numFieldType) (G : nat) (T : finType) (P : 'I_G -> T -> F).
Hypothesis chances_sum_to_one : forall i, \sum_y P i y = 1.
Notation group := {ffun 'I_G -> T}.
Implicit Types h : group -> F.

Definition E h := \sum_(f : group) (\prod_i P i (f i)) * h f.
Definition mean_of (i : 'I_G) (a : T -> F) := \sum_y P i y * a y.

Lemma E_ext h1 h2 : h1 =1 h2 -> E h1 = E h2.
Proof. by move=> same; apply: eq_bigr => f _; rewrite same. Qed.

Lemma E_add h1 h2 : E (fun f => h1 f + h2 f) = E h1 + E h2.
Proof. by rewrite /E -big_split /=; apply: eq_bigr => f _; rewrite mulrDr. Qed.

Lemma E_scale c h : E (fun f => c * h f) = c * E h.
Proof. by rewrite /E mulr_sumr; apply: eq_bigr => f _; rewrite mulrCA. Qed.

Lemma E_sum (I : finType) (Q : pred I) (h : I -> group -> F) :
  E (fun f => \sum_(i | Q i) h i f) = \sum_(i | Q i) E (h i).
Proof. rewrite /E exchange_big /=; apply: eq_bigr => f _; exact: mulr_sumr. Qed.

Lemma mean_of_one i : mean_of i (fun=> 1) = 1.
Proof. by rewrite /mean_of; under eq_bigr do rewrite mulr1. Qed.

Lemma mean_of_ext i a b : a =1 b -> mean_of i a = mean_of i b.
Proof. by move=> same; apply: eq_bigr => y _; rewrite same. Qed.

(* The mean of a product over rollouts is the product of the means. *)
Lemma E_prod (w : 'I_G -> T -> F) : E (fun f => \prod_k w k (f k)) = \prod_k mean_of k (w k).
Proof.
rewrite /E /mean_of bigA_distr_bigA /=; apply: eq_bigr => f _.
by rewrite big_split.
Qed.

Lemma prod_at (i : 'I_G) (x : 'I_G -> F) : \prod_k (if k == i then x k else 1) = x i.
Proof. by rewrite (bigD1 i) //= eqxx big1 ?mulr1 // => k /negbTE ->. Qed.

Lemma prod_at2 (i j : 'I_G) (x y : 'I_G -> F) :
  \prod_k ((if k == i then x k else 1) * (if k == j then y k else 1)) = x i * y j.
Proof. by rewrite big_split /= !prod_at. Qed.

Lemma E_one i (a : T -> F) : E (fun f => a (f i)) = mean_of i a.
Proof.
rewrite -[RHS](prod_at i (fun k => mean_of k a)).
transitivity (E (fun f => \prod_k (if k == i then a (f k) else 1))).
  by apply: E_ext => f; rewrite prod_at.
rewrite (E_prod (fun k y => if k == i then a y else 1)); apply: eq_bigr => k _.
by case: ifP => // _; exact: mean_of_one.
Qed.

Lemma E_two i j (a b : T -> F) : i != j -> E (fun f => a (f i) * b (f j)) = mean_of i a * mean_of j b.
Proof.
move=> different; rewrite -(prod_at2 i j (fun k => mean_of k a) (fun k => mean_of k b)).
transitivity (E (fun f => \prod_k ((if k == i then a (f k) else 1) * (if k == j then b (f k) else 1)))).
  by apply: E_ext => f; rewrite prod_at2.
rewrite (E_prod (fun k y => (if k == i then a y else 1) * (if k == j then b y else 1))).
apply: eq_bigr => k _; case: (altP (k =P i)) => [->|_] /=.
  by rewrite (negbTE different) mulr1; apply: mean_of_ext => y; rewrite mulr1.
case: ifP => _; rewrite !mul1r; first by apply: mean_of_ext => y; rewrite mul1r.
by rewrite /mean_of; under eq_bigr do rewrite !mulr1.
Qed.

(* Four factors of rollouts i, j, k, l have the mean zero where one of the rollouts stands alone with a factor of mean
   zero. *)
Lemma E_four_alone i j k l (a b c d : T -> F) :
  i != j -> i != k -> i != l -> mean_of i a = 0 -> E (fun f => a (f i) * b (f j) * c (f k) * d (f l)) = 0.
Proof.
move=> ij ik il zero.
pose w m y := (if m == i then a y else 1) * (if m == j then b y else 1) *
              (if m == k then c y else 1) * (if m == l then d y else 1).
transitivity (E (fun f => \prod_m w m (f m))).
  by apply: E_ext => f; rewrite /w !big_split /= !(prod_at _ (fun m => _ (f m))).
rewrite E_prod (bigD1 i) //= [mean_of i _](_ : _ = 0) ?mul0r // -zero; apply: mean_of_ext => y.
by rewrite /w eqxx (negbTE ij) (negbTE ik) (negbTE il) !mulr1.
Qed.
End Independent.
