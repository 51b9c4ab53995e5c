// Plays the recording of this page.
const place = document.getElementById("player");
AsciinemaPlayer.create(place.dataset.cast, place, { fit: "width", idleTimeLimit: 2, preload: true, controls: true });
