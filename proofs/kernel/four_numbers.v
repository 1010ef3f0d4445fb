(* Binary rewards, on policy, advantages a for every correct and b for every wrong rollout of a group with k correct ones.
   Given which rollouts are correct, their scores are independent; a correct one's score has the mean m1 = g / p and the
   mean square v1, a wrong one's m0 = - g / (1 - p) and v0. One entry of the score; entries add. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import independence.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Given.
Variables (F : numFieldType) (G : nat) (right : {set 'I_G}) (T : finType) (s : T -> F) (law : bool -> T -> F).
Variables (p g v1 v0 a b : F).
Notation k := #|right|.
Hypothesis chances_sum_to_one : forall c, \sum_y law c y = 1.
Hypothesis mean_if_right : \sum_y law true y * s y = g / p.
Hypothesis mean_if_wrong : \sum_y law false y * s y = - (g / (1 - p)).
Hypothesis square_if_right : \sum_y law true y * s y ^+ 2 = v1.
Hypothesis square_if_wrong : \sum_y law false y * s y ^+ 2 = v0.
Hypotheses (G0 : (G%:R : F) != 0) (p0 : p != 0) (q0 : 1 - p != 0).

Notation P := (fun i : 'I_G => law (i \in right)).
Definition advantage i := if i \in right then a else b.
Definition update (f : {ffun 'I_G -> T}) := (\sum_i advantage i * s (f i)) / G%:R.

Let one_at (i : 'I_G) : \sum_y P i y = 1. Proof. exact: chances_sum_to_one. Qed.
Let M i := advantage i * mean_of P i s.
Let V i := advantage i ^+ 2 * (\sum_y P i y * s y ^+ 2).

(* A sum over rollouts of what depends on being correct only. *)
Lemma sum_by_reward (x : 'I_G -> F) (u w : F) :
  (forall i, x i = if i \in right then u else w) -> \sum_i x i = k%:R * u + (G - k)%:R * w.
Proof.
move=> known; rewrite (bigID (mem right)) /=; congr (_ + _).
  by rewrite (eq_bigr (fun=> u)) => [|i inside]; rewrite ?sumr_const ?mulr_natl // known inside.
rewrite (eq_bigr (fun=> w)) => [|i /negbTE outside]; last by rewrite known outside.
rewrite (eq_bigl (mem (~: right))) => [|i]; last by rewrite -[RHS]/(i \in ~: right) inE.
by rewrite sumr_const (cardsCs (~: right)) setCK card_ord mulr_natl.
Qed.

Let M_known i : M i = if i \in right then a * (g / p) else b * - (g / (1 - p)).
Proof. by rewrite /M /advantage /mean_of; case: (i \in right); rewrite ?mean_if_right ?mean_if_wrong. Qed.
Let V_known i : V i = if i \in right then a ^+ 2 * v1 else b ^+ 2 * v0.
Proof. by rewrite /V /advantage; case: (i \in right); rewrite ?square_if_right ?square_if_wrong. Qed.

(* N1, mean given k *)
Theorem mean_given_k : E P update = (k%:R * a / p - (G - k)%:R * b / (1 - p)) / G%:R * g.
Proof.
transitivity (E P (fun f => G%:R^-1 * \sum_i advantage i * s (f i))).
  by apply: E_ext => f; rewrite /update mulrC.
rewrite E_scale E_sum (eq_bigr M) => [|i _]; last first.
  by rewrite /M E_scale (E_one one_at i s).
rewrite (sum_by_reward M_known); move: (k%:R) ((G - k)%:R) => x y.
by move: G0; move: (G%:R) => z z0; field; rewrite z0 p0 q0.
Qed.

Let mean_square : E P (fun f => (\sum_i advantage i * s (f i)) ^+ 2)
  = (\sum_i M i) ^+ 2 - \sum_i M i ^+ 2 + \sum_i V i.
Proof.
transitivity (E P (fun f => \sum_i \sum_j (advantage i * s (f i)) * (advantage j * s (f j)))).
  by apply: E_ext => f; rewrite expr2 mulr_suml; apply: eq_bigr => i _; rewrite mulr_sumr.
have row i : E P (fun f => \sum_j (advantage i * s (f i)) * (advantage j * s (f j)))
    = M i * (\sum_j M j) - M i ^+ 2 + V i.
  rewrite E_sum (bigD1 i) //= addrC; congr (_ + _); last first.
    transitivity (E P (fun f => advantage i ^+ 2 * s (f i) ^+ 2)); first by apply: E_ext => f; ring.
    by rewrite E_scale (E_one one_at i (fun y => s y ^+ 2)).
  rewrite [\sum_j M j](bigD1 i) //= mulrDr -expr2 addrAC subrr add0r mulr_sumr.
  apply: eq_bigr => j different.
  transitivity (E P (fun f => (advantage i * advantage j) * (s (f i) * s (f j)))).
    by apply: E_ext => f; ring.
  by rewrite E_scale (E_two one_at s s) 1?eq_sym // /M; ring.
rewrite E_sum; under eq_bigr do rewrite row.
by rewrite !big_split /= sumrN -mulr_suml expr2.
Qed.

(* N1, second moment given k *)
Theorem second_moment_given_k :
  E P (fun f => update f ^+ 2) =
  (a ^+ 2 * k%:R * v1 + b ^+ 2 * (G - k)%:R * v0 +
   g ^+ 2 * (a ^+ 2 * k%:R * (k%:R - 1) / p ^+ 2 + b ^+ 2 * (G - k)%:R * ((G - k)%:R - 1) / (1 - p) ^+ 2
             - 2%:R * a * b * k%:R * (G - k)%:R / (p * (1 - p)))) / G%:R ^+ 2.
Proof.
transitivity (E P (fun f => G%:R^-1 ^+ 2 * (\sum_i advantage i * s (f i)) ^+ 2)).
  by apply: E_ext => f; rewrite /update -exprMn mulrC.
rewrite E_scale mean_square.
have squares_known i : M i ^+ 2 = if i \in right then (a * (g / p)) ^+ 2 else (b * - (g / (1 - p))) ^+ 2.
  by rewrite M_known; case: ifP.
rewrite (sum_by_reward M_known) (sum_by_reward V_known) (sum_by_reward squares_known).
move: (k%:R) ((G - k)%:R) => x y; move: G0; move: (G%:R) => z z0.
by field; rewrite z0 p0 q0.
Qed.
End Given.

(* Now which rollouts are correct is drawn as well, each with the chance p; a k and b k are the advantages in a group with
   k correct ones. *)
Section Drawn.
Variables (F : numFieldType) (G : nat) (T : finType) (s : T -> F) (law : bool -> T -> F).
Variables (p g v1 v0 : F) (a b : nat -> F).
Hypothesis chances_sum_to_one : forall c, \sum_y law c y = 1.
Hypothesis mean_if_right : \sum_y law true y * s y = g / p.
Hypothesis mean_if_wrong : \sum_y law false y * s y = - (g / (1 - p)).
Hypothesis square_if_right : \sum_y law true y * s y ^+ 2 = v1.
Hypothesis square_if_wrong : \sum_y law false y * s y ^+ 2 = v0.
Hypotheses (G0 : (G%:R : F) != 0) (p0 : p != 0) (q0 : 1 - p != 0).
Implicit Types right : {set 'I_G}.

Definition chance right := p ^+ #|right| * (1 - p) ^+ (G - #|right|).
Definition over_groups (h : {set 'I_G} -> {ffun 'I_G -> T} -> F) :=
  \sum_right chance right * E (fun i => law (i \in right)) (h right).
Definition drawn_update right f := update right s (a #|right|) (b #|right|) f.

Definition over_k (h : nat -> F) := \sum_(k < G.+1) 'C(G, k)%:R * (p ^+ k * (1 - p) ^+ (G - k)) * h k.
Definition mean_at k := (k%:R * a k / p - (G - k)%:R * b k / (1 - p)) / G%:R * g.
Definition second_at k :=
  (a k ^+ 2 * k%:R * v1 + b k ^+ 2 * (G - k)%:R * v0 +
   g ^+ 2 * (a k ^+ 2 * k%:R * (k%:R - 1) / p ^+ 2 + b k ^+ 2 * (G - k)%:R * ((G - k)%:R - 1) / (1 - p) ^+ 2
             - 2%:R * a k * b k * k%:R * (G - k)%:R / (p * (1 - p)))) / G%:R ^+ 2.

Lemma sum_over_sets (h : nat -> F) : \sum_(right : {set 'I_G}) h #|right| = \sum_(k < G.+1) 'C(G, k)%:R * h k.
Proof.
have small right : (#|right| < G.+1)%N by rewrite ltnS; have := max_card (mem right); rewrite card_ord.
rewrite (partition_big (fun right : {set 'I_G} => inord #|right| : 'I_G.+1) xpredT) //=; apply: eq_bigr => k _.
rewrite (eq_bigr (fun=> h k)) => [|right /eqP <-]; last by rewrite inordK.
rewrite sumr_const mulr_natl; have : #|[set A : {set 'I_G} | #|A| == k]| = 'C(G, k) by rewrite card_draws card_ord.
move=> <-; congr (_ *+ _).
rewrite cardsE; apply: eq_card => right.
by rewrite -[LHS]/(inord #|right| == k) -[RHS]/(#|right| == k) -val_eqE /= inordK.
Qed.

Lemma over_groups_by_k h (x : nat -> F) :
  (forall right, E (fun i => law (i \in right)) (h right) = x #|right|) -> over_groups h = over_k x.
Proof.
move=> known; pose weighted k := p ^+ k * (1 - p) ^+ (G - k) * x k.
transitivity (\sum_(right : {set 'I_G}) weighted #|right|).
  by apply: eq_bigr => right _; rewrite known.
by rewrite (sum_over_sets weighted); apply: eq_bigr => k _; rewrite /weighted mulrA.
Qed.

(* N1, mean: the sum over k with binomial chances *)
Theorem mean_over_groups : over_groups drawn_update = over_k mean_at.
Proof. by apply: over_groups_by_k => right; exact: mean_given_k. Qed.

(* N1, second moment: the sum over k with binomial chances *)
Theorem second_moment_over_groups : over_groups (fun right f => drawn_update right f ^+ 2) = over_k second_at.
Proof. by apply: over_groups_by_k => right; exact: second_moment_given_k. Qed.

(* N1, variance: over all that is drawn *)
Theorem variance_over_groups :
  over_groups (fun right f => (drawn_update right f - over_k mean_at) ^+ 2) = over_k second_at - over_k mean_at ^+ 2.
Proof.
set m := over_k mean_at; have one right : E (fun i => law (i \in right)) (fun=> 1) = 1.
  have := @E_prod F G T (fun i => law (i \in right)) (fun _ _ => 1); rewrite [RHS]big1 => [all_one|i _].
    by rewrite -[RHS]all_one; apply: E_ext => f; rewrite big1.
  by apply: mean_of_one => j; exact: chances_sum_to_one.
have total : over_k (fun=> 1) = 1.
  rewrite -[RHS](expr1n _ G) -[X in _ = X ^+ _](subrK p 1) exprDn /over_k.
  by apply: eq_bigr => k _; rewrite mulr1 mulr_natl [_ * p ^+ _]mulrC.
rewrite (@over_groups_by_k _ (fun k => second_at k + (- (2%:R * m)) * mean_at k + m ^+ 2 * 1)) => [|right].
  transitivity (over_k second_at + (- (2%:R * m)) * m + m ^+ 2 * over_k (fun=> 1)); last by rewrite total; ring.
  rewrite /m /over_k !mulr_sumr -!big_split /=; apply: eq_bigr => k _; ring.
rewrite -[X in _ + m ^+ 2 * X](one right).
have <- : E (fun i => law (i \in right)) (drawn_update right) = mean_at #|right| by exact: mean_given_k.
have <- : E (fun i => law (i \in right)) (fun f => drawn_update right f ^+ 2) = second_at #|right|.
  exact: second_moment_given_k.
rewrite -!E_scale -!E_add; apply: E_ext => f; ring.
Qed.
End Drawn.
