"""The reaction point of one queue pair, replayed from the CNPs it got.

Zhu et al., SIGCOMM 2015, section 5.1: a CNP sets RT = RC, RC = RC (1 - alpha/2), alpha = (1-g) alpha + g;
alpha = (1-g) alpha in every period without one. Timer and byte counter then raise the rate: RC halves
its distance to RT (fast recovery); after F of them RT grows by R_AI, and by i R_HAI where both counters
are beyond F (hyper increase, by the lesser of them).
"""

from analyzers.congestion.profiles import Profile


class Reaction:
    """Rate and alpha of a queue pair in time; at ``begin`` it has line rate and has heard nothing.

    ``carried_bits`` grows by the rate times the time that passes: its growth over a span is the mean rate.
    """

    def __init__(self, profile: Profile, line_bps: float, begin: int = 0) -> None:
        self.profile = profile
        self.line = line_bps
        self.rate = self.goal = line_bps
        self.carried_bits = 0.0
        self._alpha = 1.0
        self._begun = False
        self._now = self._alpha_at = self._rise_at = self._look_at = begin
        self._timer = self._counter = 0  # increases since the last cut, by cause
        self._bytes = 0.0
        self._heard_alpha = self._heard_rate = False

    @property
    def alpha(self) -> float:
        """The estimate of congestion now."""
        self._settle_alpha()
        return self._alpha

    def cnp(self) -> None:
        """A CNP arrived at the time reached."""
        now = self._now
        if not self._begun:
            self._begun = True
            self._alpha_at = self._rise_at = self._look_at = now
            if not self.profile.periodic:
                self._look_at = now - self.profile.cut_ns
        self._settle_alpha()
        if self.profile.periodic:
            self._heard_alpha = self._heard_rate = True
            self._look_at += (now - self._look_at) // self.profile.cut_ns * self.profile.cut_ns
            return
        if now - self._look_at < self.profile.cut_ns:
            return
        self._look_at = now
        self._cut()
        self._alpha = (1 - self.profile.g) * self._alpha + self.profile.g
        self._alpha_at = now

    def advance(self, now: int, sent_bytes: float) -> None:
        """Let time pass up to ``now``, with so many bytes sent evenly in it."""
        pace = sent_bytes / max(now - self._now, 1)
        while self._now < now:
            step = min(self._next(pace), now)
            self.carried_bits += self.rate * (step - self._now) / 1e9
            self._bytes += pace * (step - self._now) if self._begun else 0.0
            self._now = step
            if self._begun:
                self._tick()

    def _next(self, pace: float) -> int:
        """The next time at which something is due."""
        profile = self.profile
        if not self._begun:
            return 1 << 62
        times = [self._rise_at + profile.rise_ns]
        if profile.rise_bytes and pace > 0:
            left = max(profile.rise_bytes - self._bytes, 0.0)
            times.append(self._now + int(left / pace) + 1)
        if self._heard_rate:
            times.append(self._look_at + profile.cut_ns)
        return max(min(times), self._now + 1)

    def _tick(self) -> None:
        """What is due now: increases first, then the cut."""
        profile, now = self.profile, self._now
        if now - self._rise_at >= profile.rise_ns:
            self._rise_at = now
            self._timer += 1
            self._rise()
        if profile.rise_bytes and self._bytes >= profile.rise_bytes:
            self._bytes = 0.0
            self._counter += 1
            self._rise()
        if self._heard_rate and now - self._look_at >= profile.cut_ns:
            self._look_at = now
            self._heard_rate = False
            self._settle_alpha()
            self._cut()

    def _settle_alpha(self) -> None:
        """Apply the updates of all periods that have ended."""
        profile = self.profile
        ended = (self._now - self._alpha_at) // profile.alpha_ns if self._begun else 0
        if ended <= 0:
            return
        self._alpha_at += ended * profile.alpha_ns
        self._alpha *= (1 - profile.g) ** ended
        if self._heard_alpha:  # heard in the first of them
            self._alpha += profile.g * (1 - profile.g) ** (ended - 1)
            self._heard_alpha = False

    def _cut(self) -> None:
        if self.profile.clamp or self._timer or self._counter:
            self.goal = self.rate
        self.rate = max(self.rate * (1 - self._alpha / 2), self.profile.min_bps)
        self._rise_at = self._now
        self._timer = self._counter = 0
        self._bytes = 0.0

    def _rise(self) -> None:
        fast = self.profile.fast
        both, either = min(self._timer, self._counter), max(self._timer, self._counter)
        if both > fast:
            self.goal += self.profile.hai_bps * (both - fast)
        elif either > fast:
            self.goal += self.profile.ai_bps
        self.goal = min(self.goal, self.line)
        self.rate = min((self.rate + self.goal) / 2, self.line)
