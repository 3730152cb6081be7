/* What an ending promises, for the picture beside a name; the search has the node's own
   table. */

const ENDINGS = {
	audio: 'aac aif aiff alac amr ape flac m4a m4b mid midi mka mp2 mp3 mpc oga ogg opus wav weba wma wv',
	video: '3gp asf avi divx f4v flv m2ts m2v m4v mkv mov mp4 mpeg mpg mts ogm ogv rm rmvb ts vob webm wmv',
	picture: 'arw avif bmp cr2 cr3 dng gif heic heif ico jpe jpeg jpg jxl nef orf png psd raf raw rw2 svg '
		+ 'tif tiff webp xcf',
	document: 'azw3 cbr cbz chm csv djvu doc docm docx epub fb2 htm html md mobi odp ods odt pages pdf ppt '
		+ 'pptx ps rst rtf tex txt xls xlsx'
};
const KIND_OF = new Map(Object.entries(ENDINGS).flatMap(([kind, endings]) =>
	endings.split(' ').map((ending) => [ending, kind])));
const PLACES = { group: 'groups', member: 'person', share: 'folder', folder: 'folder' };

/* Return the picture's name for *row*. */
export function pictureOf(row) {
	if (PLACES[row.kind])
		return PLACES[row.kind];
	const dot = row.name.lastIndexOf('.');
	return (dot >= 0 && KIND_OF.get(row.name.slice(dot + 1).toLowerCase())) || 'file';
}
