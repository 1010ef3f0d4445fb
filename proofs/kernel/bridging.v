(* What the generated bridges say their theorems with: rewards and scores of a group listed one by one. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import group_means unbiased.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Listed.
Variable F : numFieldType.
Implicit Types l r s : seq F.

Definition values (G : nat) l : 'I_G -> F := fun i => nth 0 l i.

(* A sum over the group is one over the list, which the kernel computes without a word about indices. *)
Fixpoint total l := if l is x :: rest then x + total rest else 0.
Fixpoint indexed (T : Type) (f : nat -> T -> F) (i : nat) (l : seq T) :=
  if l is x :: rest then f i x :: indexed f i.+1 rest else [::].

Lemma sum_of_entries (T : Type) (d : T) (G : nat) (f : nat -> T -> F) (l : seq T) :
  size l = G -> \sum_(i < G) f i (nth d l i) = total (indexed f 0 l).
Proof.
move=> <-; rewrite -[RHS]/(total (indexed (fun i => f (0 + i)%N) 0 l)).
suff shifted k : \sum_(i < size l) f (k + i)%N (nth d l i) = total (indexed f k l) by exact: (shifted 0%N).
elim: l k => [|x l known] k /=; first by rewrite big_ord0.
rewrite big_ord_recl /= addn0; congr (_ + _); rewrite -known; apply: eq_bigr => i _.
by rewrite /bump /= addnA addn1.
Qed.

Lemma sum_listed (G : nat) (f : nat -> F -> F) l :
  size l = G -> \sum_(i < G) f i (values l i) = total (indexed f 0 l).
Proof. exact: sum_of_entries. Qed.

Lemma total_values (G : nat) l : size l = G -> \sum_(i < G) values l i = total l.
Proof. by move=> l_size; rewrite (sum_listed (fun _ x => x) l_size); elim: l 0%N {l_size} => //= x l known k; rewrite known. Qed.

Definition centred_listed r s :=
  total (indexed (fun i y => (nth 0 r i - total r / (size r)%:R) * y) 0 s) / (size r)%:R.

Lemma estimate_listed n r s : size r = n.+2 -> size s = n.+2 ->
  @estimate F n (centred (values r)) (values s) = centred_listed r s.
Proof.
move=> r_size s_size; rewrite /estimate /centred_listed r_size; congr (_ / _).
rewrite -[RHS](@sum_listed n.+2) //; apply: eq_bigr => i _; rewrite /centred /mean; congr ((_ - _ / _) * _).
by rewrite total_values.
Qed.

Lemma rloo_listed n r s : size r = n.+2 -> size s = n.+2 ->
  @rloo F n (values r) (values s) = (size r)%:R / (size r).-1%:R * centred_listed r s.
Proof.
move=> r_size s_size; rewrite -(estimate_listed r_size s_size) r_size /rloo /estimate mulrA; congr (_ / _).
rewrite mulr_sumr; apply: eq_bigr => i _; rewrite leave_one_out_is_scaled_centring /centred.
by rewrite mulrA.
Qed.

(* The scores of a softmax over listed chances p, in a sum over answers with weights a and over logits with weights b. *)
Lemma scores_listed (G : nat) (p a b : seq F) : size a = G -> size b = G ->
  \sum_(x < G) values b x * (\sum_(y < G) values a y * score (values p) x y) =
  total (indexed (fun i w => w * (nth 0 a i - total a * nth 0 p i)) 0 b).
Proof.
move=> a_size b_size; rewrite -(sum_listed (fun i w => w * (nth 0 a i - total a * nth 0 p i)) b_size).
apply: eq_bigr => x _; congr (_ * _); rewrite -(total_values a_size) /score; under eq_bigr do rewrite mulrBr.
by rewrite sumrB sum_with_indicator -mulr_suml.
Qed.
End Listed.
