"""What observes: collectors record raw readings and frames, and decide nothing."""
